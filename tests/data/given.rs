//! Tokenizers from the user: hostile ones are a data fault, and some are corrected.

use super::*;
use normfree::data::LoadedTokenizer;
use normfree::fault::Result;
use serde_json::{Value, json};
use std::process::Command;
use std::time::{Duration, Instant};

/// A tokenizer that `prepare` has learned, as JSON.
fn learned() -> Value {
    let (source, out) = (corpus(4), TempDir::new().unwrap());
    let mut options = options(&source, &out);
    options.vocab_size = 280;
    run(&options).unwrap();
    serde_json::from_slice(&fs::read(options.out.join("tokenizer.json")).unwrap()).unwrap()
}

/// Loads it and uses it for everything that a tokenizer is used for.
fn try_out(json: &[u8]) -> Result<Vec<String>> {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("tokenizer.json");
    fs::write(&path, json).unwrap();
    let tokenizer = LoadedTokenizer::read(&path)?;
    tokenizer.encode_one("")?;
    tokenizer.encode_one("it's  def f(x):\n\treturn '\u{4e2d}\u{fffd}' <|endoftext|> 1234 \u{0}\u{200b}")?;
    let mut decode = tokenizer.decoder();
    for id in 0..tokenizer.vocab_size.min(2000) as u32 {
        decode(id)?;
    }
    Ok(tokenizer.notes.clone())
}

/// Either it can be used, or it is a data fault; and it never takes long.
fn assert_is_harmless(json: &[u8], what: &dyn Fn() -> String) -> bool {
    let began = Instant::now();
    let result = try_out(json);
    assert!(began.elapsed() < Duration::from_secs(20), "{} s: {}", began.elapsed().as_secs(), what());
    if let Err(fault) = &result {
        assert_eq!(fault.kind, Kind::Data, "{fault}: {}", what());
        assert!(fault.to_string().contains("tokenizer"), "{fault}");
    }
    result.is_ok()
}

#[test]
fn a_tokenizer_that_is_cut_anywhere_is_named_so() {
    let json = serde_json::to_vec_pretty(&learned()).unwrap();
    assert!(try_out(&json).unwrap().is_empty());
    for length in (0..500).chain((500..json.len()).step_by(97)) {
        let fault = try_out(&json[..length]).unwrap_err();
        assert_fault(Err::<(), _>(fault), Kind::Data, &["tokenizer.json", "incomplete or invalid JSON"]);
    }
}

/// Tokenizers on which the library panics, or that it accepts although they are unusable.
fn hostile() -> Vec<(&'static str, Value)> {
    let good = learned();
    let mut all = Vec::new();
    let mut add = |what, change: &dyn Fn(&mut Value)| {
        let mut json = good.clone();
        change(&mut json);
        all.push((what, json));
    };
    add("pieces of no length", &|t| t["pre_tokenizer"] = json!({ "type": "FixedLength", "length": 0 }));
    add("a prefix that no token has", &|t| t["model"]["continuing_subword_prefix"] = json!("#####"));
    add("an id past every model", &|t| t["model"]["vocab"]["a"] = json!(u32::MAX));
    add("two tokens of one id", &|t| t["model"]["vocab"]["a"] = json!(3));
    add("an added token of another id", &|t| t["added_tokens"][0]["id"] = json!(77));
    add("an added token without an id", &|t| t["added_tokens"][0] = json!({ "content": "x" }));
    add("no model", &|t| t["model"] = Value::Null);
    add("a merge of no token", &|t| t["model"]["merges"][0] = json!(["nowhere", "to be found"]));
    add("a dropout past one", &|t| t["model"]["dropout"] = json!(5.0));
    add("another version", &|t| t["version"] = json!("9.9"));
    add("a regular expression that is none", &|t| {
        t["pre_tokenizer"] =
            json!({ "type": "Split", "pattern": { "Regex": "(" }, "behavior": "Isolated", "invert": false });
    });
    all.push(("an array", json!([])));
    all
}

#[test]
fn hostile_tokenizers_are_faults_of_the_data() {
    for (what, json) in hostile() {
        let fault = try_out(json.to_string().as_bytes()).expect_err(what);
        assert_fault(Err::<(), _>(fault), Kind::Data, &["the tokenizer cannot be used", "tokenizer.json"]);
    }
}

#[test]
fn the_program_says_so_in_one_sentence() {
    let (source, out) = (corpus(4), TempDir::new().unwrap());
    for (what, json) in hostile() {
        let path = out.path().join("hostile.json");
        fs::write(&path, json.to_string()).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_normfree"));
        command.args(["-q", "prepare", "--chunk", "16"]).arg(source.path()).arg("--tokenizer").arg(&path);
        let output = command.arg("--out").arg(out.path().join("out")).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(4), "{what}: {said}");
        assert!(
            said.starts_with("error: the tokenizer cannot be used") && said.lines().count() == 1,
            "{said}"
        );
    }
}

/// Replaces one value, anywhere.
fn mutate(json: &mut Value, draw: &mut dyn FnMut(u64) -> u64) {
    let go_deeper = draw(6) > 0;
    match json {
        Value::Object(fields) if go_deeper && !fields.is_empty() => {
            let place = draw(fields.len() as u64) as usize;
            let (key, value) = fields.iter_mut().nth(place).unwrap();
            if draw(12) == 0 {
                let key = key.clone();
                fields.remove(&key);
            } else {
                mutate(value, draw);
            }
        }
        Value::Array(values) if go_deeper && !values.is_empty() => {
            let place = draw(values.len() as u64) as usize;
            mutate(&mut values[place], draw);
        }
        _ => {
            let others = [
                json!(null),
                json!(true),
                json!(0),
                json!(-1),
                json!(4_294_967_295u64),
                json!(1e300),
                json!(""),
                json!("\u{120}\u{120}"),
                json!("<|endoftext|>"),
                json!([]),
                json!({}),
                json!([["", 0.0]]),
                json!({ "type": "Sequence", "normalizers": [], "pretokenizers": [], "processors": [], "decoders": [] }),
                json!({ "type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always" }),
                json!({ "type": "FixedLength", "length": draw(3) }),
                json!({ "type": "Strip", "content": "a", "start": draw(9), "stop": draw(9), "strip_left": true, "strip_right": true }),
                json!({ "type": "Prepend", "prepend": "" }),
                json!({ "type": "Replace", "pattern": { "Regex": "" }, "content": "xx" }),
                json!({ "type": "Replace", "pattern": { "String": "" }, "content": "xx" }),
                json!({ "type": "Split", "pattern": { "Regex": "(a*)*b|" }, "behavior": "MergedWithNext", "invert": true }),
                json!({ "type": "Digits", "individual_digits": true }),
                json!({ "type": "CTC", "pad_token": "", "word_delimiter_token": "", "cleanup": true }),
                json!({ "type": "WordPiece", "prefix": "##########", "cleanup": true }),
                json!({ "type": "BPEDecoder", "suffix": "" }),
                json!({ "type": "Precompiled", "precompiled_charsmap": "AAAAAAA=" }),
                json!({ "type": "ByteFallback" }),
                json!({ "type": "Unigram", "unk_id": draw(3), "vocab": [["a", -1.0], ["<|endoftext|>", -2.0], ["", 0.0]] }),
                json!({ "type": "Unigram", "unk_id": null, "vocab": [], "byte_fallback": true }),
                json!({ "type": "WordLevel", "unk_token": "nowhere", "vocab": { "a": 0 } }),
                json!({ "type": "WordPiece", "unk_token": "a", "continuing_subword_prefix": "##", "max_input_chars_per_word": draw(4), "vocab": { "a": 0, "##a": 1 } }),
                json!({ "type": "TemplateProcessing", "single": [{ "SpecialToken": { "id": "x", "type_id": 0 } }], "pair": [], "special_tokens": {} }),
                json!({ "type": "RobertaProcessing", "sep": ["", 9], "cls": ["", 9], "trim_offsets": true, "add_prefix_space": true }),
            ];
            *json = others[draw(others.len() as u64) as usize].clone();
        }
    }
}

/// How long to search for harmful tokenizers: some seconds, or as many as requested.
fn fuzz_time() -> Duration {
    let asked = std::env::var("NORMFREE_FUZZ_SECONDS").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(asked.unwrap_or(6))
}

#[test]
fn changed_tokenizers_do_no_harm() {
    let seed = crate::support::seed();
    let good = learned();
    let text = good.to_string().into_bytes();
    let permutation = Permutation::new(1 << 62, seed, 0);
    let mut number = 0;
    let mut draw = |below: u64| {
        number += 1;
        permutation.apply(number) % below
    };
    let (mut tried, mut taken) = (0, 0);
    let began = Instant::now();
    while began.elapsed() < fuzz_time() {
        let mut json = good.clone();
        for _ in 0..=draw(3) {
            mutate(&mut json, &mut draw);
        }
        let mut bytes = if draw(4) > 0 { json.to_string().into_bytes() } else { text.clone() };
        if draw(4) == 0 {
            for _ in 0..=draw(4) {
                let place = draw(bytes.len() as u64) as usize;
                bytes[place] = draw(256) as u8;
            }
        }
        taken += u32::from(assert_is_harmless(&bytes, &|| String::from_utf8_lossy(&bytes).into_owned()));
        tried += 1;
    }
    println!("{tried} tokenizers, {taken} of them can be used");
    assert!(tried > 20 && taken > 0 && taken < tried, "{tried} tried, {taken} taken");
}

#[test]
fn random_merges_and_unmarked_ends_of_text_are_corrected_with_a_note() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for n in 0..6 {
        write(
            source.path(),
            &format!("{n}.txt"),
            format!("text {n} <|endoftext|> and more of it\n").repeat(30),
        );
    }
    let good = learned();
    let path = out.path().join("given.json");
    let mut options = options(&source, &out);
    options.tokenizer = Some(path.clone());
    options.pack = true;
    let prepared = |json: &Value| {
        fs::write(&path, json.to_string()).unwrap();
        let meta = run(&options).unwrap();
        (meta, ["train.bin", "valid.bin"].map(|name| chunks(&options, name).concat()), tokenizer(&options))
    };
    let (meta, tokens, _) = prepared(&good);
    assert!(meta.notes.is_empty());
    let changes: [(&str, Change<Value>); 3] = [
        ("dropout", &|t| t["model"]["dropout"] = json!(0.3)),
        ("not a special token", &|t| t["added_tokens"][0]["special"] = json!(false)),
        ("not a special token", &|t| t["added_tokens"] = json!([])),
    ];
    for (word, change) in changes {
        let mut json = good.clone();
        change(&mut json);
        let (meta, same, kept) = prepared(&json);
        assert!(meta.notes.len() == 1 && meta.notes[0].contains(word), "{:?}", meta.notes);
        assert_eq!(same, tokens, "{word}");
        // The corrected tokenizer is the one that is kept.
        assert_eq!(serde_json::to_value(kept).unwrap(), good, "{word}");
    }

    // One that cannot be corrected: each word is looked up as it is.
    let unigram = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": { "type": "WhitespaceSplit" }, "post_processor": null, "decoder": null,
        "model": { "type": "WordLevel", "unk_token": "u", "vocab": { "u": 0, "<|endoftext|>": 1 } }
    });
    fs::write(&path, unigram.to_string()).unwrap();
    assert_fault(run(&options), Kind::Data, &["given.json", "encodes the text <|endoftext|>"]);
}
