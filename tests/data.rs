//! Corpus → tokenizer → token file → batches.

pub mod formats;
mod given;
mod lines;
mod replaced;
mod walked;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::path::Path;

use normfree::config::Order;
use normfree::data::{
    Batch, Batches, Corpus, Dtype, Meta, Permutation, PrepareOptions, Progress, SplitBy, Stage, TokenFile,
    prepare, write_token_file,
};
use normfree::fault::{Fault, Kind};
use normfree::numbers::counted;
use normfree::ops::cross_entropy::IGNORED;
use proptest::prelude::*;
use tempfile::TempDir;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::pre_tokenizers::whitespace::Whitespace;
use tokenizers::{AddedToken, Tokenizer};

/// A change that a test makes to something valid.
type Change<'a, T> = &'a dyn Fn(&mut T);

/// A folder of `files` Python files of different sizes, some of them in subfolders.
fn corpus(files: usize) -> TempDir {
    let folder = TempDir::new().unwrap();
    for file in 0..files {
        let lines: String = (0..20 + 7 * file)
            .map(|line| format!("def f_{line}(x, y={file}):\n    return x * {line} + y  # Zürich {line}\n\n"))
            .collect();
        let name = format!("{}m{file:02}.py", if file % 3 == 0 { "sub/" } else { "" });
        write(folder.path(), &name, lines);
    }
    folder
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, bytes).unwrap();
}

fn options(source: impl AsRef<Path>, out: &TempDir) -> PrepareOptions {
    let mut options =
        PrepareOptions::new(vec![source.as_ref().display().to_string()], out.path().join("out"));
    options.replace = true;
    options.vocab_size = 400;
    options.chunk = 16;
    options.valid_share = 0.3;
    options
}

fn run(options: &PrepareOptions) -> Result<Meta, Fault> {
    prepare(options, &mut |_| {})
}

fn tokenizer(options: &PrepareOptions) -> Tokenizer {
    Tokenizer::from_file(options.out.join("tokenizer.json")).unwrap()
}

/// Every chunk of a part.
fn chunks(options: &PrepareOptions, name: &str) -> Vec<Vec<u32>> {
    let meta = Meta::read(&options.out).unwrap().unwrap();
    let file = TokenFile::open(&options.out.join(name), meta.dtype, meta.chunk, meta.vocab_size).unwrap();
    (0..file.sequences())
        .map(|index| {
            let mut chunk = vec![0; meta.chunk];
            file.sequence(index, &mut chunk);
            chunk
        })
        .collect()
}

/// The text of each part, chunk after chunk.
fn texts(options: &PrepareOptions) -> [String; 2] {
    let tokenizer = tokenizer(options);
    ["train.bin", "valid.bin"].map(|name| {
        chunks(options, name).iter().map(|chunk| tokenizer.decode(chunk, false).unwrap()).collect()
    })
}

fn folder_bytes(folder: &Path) -> BTreeMap<String, Vec<u8>> {
    fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

/// A fault of `kind` whose message contains all of `words`.
fn assert_fault<T: std::fmt::Debug>(result: Result<T, Fault>, kind: Kind, words: &[&str]) {
    let fault = result.expect_err("this must not succeed");
    let message = fault.to_string();
    assert_eq!(fault.kind, kind, "{message}");
    for word in words {
        assert!(message.contains(word), "{word:?} is not in: {message}");
    }
}

#[test]
fn each_document_gives_its_chunks_and_loses_its_tail() {
    let (source, out) = (corpus(9), TempDir::new().unwrap());
    let options = options(&source, &out);
    let meta = run(&options).unwrap();
    let tokenizer = tokenizer(&options);
    assert_eq!(meta.vocab_size, 400);
    assert_eq!((meta.dtype, meta.chunk, meta.split_by), (Dtype::U16, 16, SplitBy::Document));
    assert_eq!(meta.end_of_text, tokenizer.token_to_id("<|endoftext|>"));
    assert_eq!((meta.train.documents + meta.valid.documents, meta.source.files), (9, 9));

    // What each document must give, encoded as a whole on its own.
    let mut expected: Vec<Vec<Vec<u32>>> = Vec::new();
    let mut dropped = 0;
    for file in 0..9 {
        let name = format!("{}m{file:02}.py", if file % 3 == 0 { "sub/" } else { "" });
        let text = fs::read_to_string(source.path().join(name)).unwrap();
        let ids = tokenizer.encode(text.clone(), false).unwrap().get_ids().to_vec();
        assert_eq!(tokenizer.decode(&ids, false).unwrap(), text, "the round trip of {file}");
        dropped += ids.len() as u64 % 16;
        expected.push(ids.chunks_exact(16).map(<[u32]>::to_vec).collect());
    }
    assert_eq!(meta.dropped_tokens, dropped);

    // Every document is whole in one part: the split is by document, and the parts are disjoint.
    let (train, valid) = (chunks(&options, "train.bin"), chunks(&options, "valid.bin"));
    let is_in =
        |part: &[Vec<u32>], document: &[Vec<u32>]| part.windows(document.len()).any(|w| w == document);
    let in_train = expected.iter().filter(|document| is_in(&train, document)).count() as u64;
    let in_valid = expected.iter().filter(|document| is_in(&valid, document)).count() as u64;
    assert_eq!((in_train, in_valid), (meta.train.documents, meta.valid.documents));
    assert!(in_train > 0 && in_valid > 0);
    assert_eq!(train.len() + valid.len(), expected.iter().map(Vec::len).sum::<usize>());
    assert_eq!((meta.train.chunks, meta.train.tokens), (train.len() as u64, train.len() as u64 * 16));
}

#[test]
fn the_same_source_gives_the_same_bytes() {
    let (source, out_a, out_b) = (corpus(9), TempDir::new().unwrap(), TempDir::new().unwrap());
    run(&options(&source, &out_a)).unwrap();
    run(&options(&source, &out_b)).unwrap();
    let first = folder_bytes(&out_a.path().join("out"));
    assert_eq!(first, folder_bytes(&out_b.path().join("out")));
    // Again into the same folder: the data is replaced, and what a killed run left there is gone.
    write(&out_a.path().join("out"), ".prepare-Ab3.part", "half");
    run(&options(&source, &out_a)).unwrap();
    assert_eq!(first, folder_bytes(&out_a.path().join("out")));
    assert_eq!(
        first.keys().map(String::as_str).collect::<Vec<_>>(),
        ["meta.json", "tokenizer.json", "train.bin", "valid.bin"]
    );

    let mut other = options(&source, &out_b);
    other.seed = 2;
    let (meta, before) = (run(&other).unwrap(), Meta::read(&out_a.path().join("out")).unwrap().unwrap());
    assert_eq!(meta.source.sha256, before.source.sha256);
    assert_ne!(
        first["valid.bin"],
        folder_bytes(&other.out)["valid.bin"],
        "the seed decides what is held out"
    );
    write(source.path(), "m01.py", "changed = True\n".repeat(40));
    assert_ne!(run(&other).unwrap().source.sha256, before.source.sha256);
}

#[test]
fn a_long_document_encodes_as_if_in_one_piece() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    // Several pieces of 256 KiB, with characters of three bytes so that reads end within one.
    let long: String = (0..24_000).map(|n| format!("é€ {n} == x  \n\n  it's äö€€{}\n", n * 7919)).collect();
    assert!(long.len() > 3 << 18);
    write(source.path(), "a.txt", &long);
    write(source.path(), "b.txt", "short ".repeat(100));
    let options = options(&source, &out);
    run(&options).unwrap();
    let ids = tokenizer(&options).encode(long, false).unwrap().get_ids().to_vec();
    let expected: Vec<&[u32]> = ids.chunks_exact(16).collect();
    let larger =
        ["train.bin", "valid.bin"].map(|name| chunks(&options, name)).into_iter().max_by_key(Vec::len);
    let larger = larger.unwrap();
    assert_eq!(larger.len(), expected.len());
    assert!(larger.iter().zip(expected).all(|(a, b)| a == b));
}

#[test]
fn packing_runs_across_documents() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    for n in 0..60 {
        write(source.path(), &format!("{n:02}.txt"), format!("number {n} <|endoftext|>"));
    }
    let mut options = options(&source, &out);
    options.pack = true;
    let meta = run(&options).unwrap();
    assert!(meta.packed);
    let end = meta.end_of_text.unwrap();
    let all: Vec<u32> = chunks(&options, "train.bin").concat();
    // The literal in the text is ordinary text: only the tokens between documents end one.
    let decoded = tokenizer(&options).decode(&all, false).unwrap();
    let ends = all.iter().filter(|&&token| token == end).count();
    assert_eq!(decoded.matches("<|endoftext|>").count(), ends + decoded.matches(" <|endoftext|>").count());
    assert!(decoded.contains(" <|endoftext|><|endoftext|>number "), "{decoded}");
    assert!(meta.dropped_tokens < 2 * 16, "one tail in each part, not one in each document");
}

#[test]
fn a_single_document_is_split_by_position() {
    let (source, out) = (corpus(1), TempDir::new().unwrap());
    let options = options(source.path().join("sub/m00.py"), &out);
    let meta = run(&options).unwrap();
    assert_eq!(meta.split_by, SplitBy::Position);
    let total = meta.train.chunks + meta.valid.chunks;
    assert_eq!(meta.valid.chunks, (0.3 * total as f64).round() as u64);
    let text = fs::read_to_string(source.path().join("sub/m00.py")).unwrap();
    assert!(text.starts_with(&texts(&options).concat()), "train is the beginning, valid goes on from there");
}

#[test]
fn a_held_out_document_too_short_for_a_chunk_is_replaced() {
    let out = TempDir::new().unwrap();
    for seed in 0..8 {
        let source = TempDir::new().unwrap();
        for name in ["a", "b", "c"] {
            write(source.path(), name, format!("{name} is one of three texts ").repeat(20));
        }
        for name in ["tiny", "small", "wee"] {
            write(source.path(), name, "x");
        }
        let mut options = options(&source, &out);
        (options.seed, options.valid_share, options.vocab_size) = (seed, 0.01, 300);
        let meta = run(&options).unwrap();
        assert!(meta.train.chunks > 0 && meta.valid.chunks > 0, "seed {seed}: {meta:?}");
        assert_eq!((meta.split_by, meta.train.documents + meta.valid.documents), (SplitBy::Document, 6));
        let texts = texts(&options);
        for name in ["a is", "b is", "c is"] {
            assert!(texts[0].contains(name) != texts[1].contains(name), "seed {seed}: {texts:?}");
        }
    }
}

#[test]
fn json_lines_are_documents() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let mut lines = Vec::new();
    for n in 0..40 {
        let field = if n % 2 == 0 { "text" } else { "content" };
        lines.extend(
            format!("{{\"id\": {n}, \"{field}\": \"line {n}: {}\"}}\n", "a\\n\\u00e9 ".repeat(20)).bytes(),
        );
    }
    lines.extend(b"\n{\"text\": \"\xff\"}\n");
    write(source.path(), "data.jsonl", lines);
    let options = options(source.path().join("data.jsonl"), &out);
    let meta = run(&options).unwrap();
    assert_eq!((meta.train.documents + meta.valid.documents, meta.skipped.not_utf8), (40, 1));
    assert!((5..20).contains(&meta.valid.documents), "lines are held out one by one: {meta:?}");
    let texts = texts(&options);
    for n in 0..40 {
        let begin = format!("line {n}: a\né a");
        assert!(texts[0].contains(&begin) != texts[1].contains(&begin), "line {n} is in one part");
    }
}

#[test]
fn folders_globs_and_extensions_choose_files() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    write(source.path(), "notes.txt", "not Python ".repeat(50));
    write(source.path(), ".hidden.py", "hidden ".repeat(50));
    write(source.path(), ".git/x.py", "hidden ".repeat(50));
    let files = |options: &PrepareOptions| run(options).unwrap().source.files;
    let mut options = options(&source, &out);
    assert_eq!(files(&options), 7);
    options.extensions = vec![".PY".to_owned()];
    assert_eq!(files(&options), 6);
    options.extensions.clear();
    options.sources = vec![format!("{}/**/m*.py", source.path().display())];
    assert_eq!(files(&options), 6);
    // The same file by two paths is one file.
    options.sources.push(source.path().join("m01.py").display().to_string());
    assert_eq!(files(&options), 6);
    options.sources = vec![format!("{}/*.rs", source.path().display())];
    assert_fault(run(&options), Kind::Data, &["glob matches no file", "*.rs"]);
    options.sources = vec!["/no/such/place".to_owned()];
    assert_fault(run(&options), Kind::Data, &["/no/such/place"]);

    // The output folder is not a source, even inside one.
    let mut inside = self::options(&source, &out);
    inside.out = source.path().join("prepared");
    assert_eq!((files(&inside), files(&inside)), (7, 7));
}

#[test]
fn the_cap_draws_files_and_cuts_a_single_one() {
    let (source, out) = (corpus(9), TempDir::new().unwrap());
    let mut options = options(&source, &out);
    let whole = run(&options).unwrap().source;
    options.max_bytes = Some(whole.bytes / 2);
    let half = run(&options).unwrap();
    assert!(half.source.bytes <= whole.bytes / 2 && half.source.files < whole.files, "{:?}", half.source);
    assert!(half.source.bytes > whole.bytes / 5, "{:?}", half.source);
    assert_ne!(half.train.documents, 0);

    let lines: String = (0..3000).map(|n| format!("€ {n:04}\n")).collect();
    write(source.path(), "long.txt", lines);
    options.sources = vec![source.path().join("long.txt").display().to_string()];
    options.max_bytes = Some(2000);
    // 222 lines of nine bytes, and two bytes of the next character.
    assert_eq!(run(&options).unwrap().source.bytes, 2000);
    let texts = texts(&options).concat();
    assert!(texts.starts_with("€ 0000\n€ 0001\n") && !texts.contains("0222"), "{texts}");
}

#[test]
fn text_that_is_not_utf8_is_skipped_and_counted() {
    let (source, out) = (corpus(6), TempDir::new().unwrap());
    write(source.path(), "latin1.py", b"# Z\xfcrich\n".repeat(30));
    write(source.path(), "cut.py", &"é".repeat(70_000).as_bytes()[..131_073]);
    write(source.path(), "picture", b"\x00\x01\x02abc".repeat(30));
    let mut options = options(&source, &out);
    let meta = run(&options).unwrap();
    assert_eq!((meta.skipped.not_utf8, meta.skipped.binary, meta.source.files), (2, 1, 6));

    options.sources = vec![source.path().join("latin1.py").display().to_string()];
    assert_fault(
        run(&options),
        Kind::Data,
        &["corpus is empty", "found 1 file or row not in UTF-8 (the first"],
    );
}

#[test]
fn an_empty_or_tiny_corpus_is_refused() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let options = options(&source, &out);
    assert_fault(run(&options), Kind::Data, &["corpus is empty", "no file"]);
    write(source.path(), "empty.py", "");
    assert_fault(run(&options), Kind::Data, &["corpus is empty"]);
    write(source.path(), "short.py", "x = 1\n");
    assert_fault(run(&options), Kind::Data, &["too small", "0 chunks of 16"]);
    assert_eq!(fs::read_dir(&options.out).unwrap().count(), 0, "a failure leaves no file");
}

#[test]
fn options_are_checked_before_anything_is_read() {
    let (source, out) = (corpus(3), TempDir::new().unwrap());
    let wrong = |change: &dyn Fn(&mut PrepareOptions), word: &str| {
        let mut options = options(&source, &out);
        change(&mut options);
        assert_fault(run(&options), Kind::Usage, &[word]);
    };
    wrong(&|o| o.vocab_size = 256, "256");
    wrong(&|o| o.chunk = 1, "chunk");
    wrong(&|o| o.valid_share = 0.0, "share");
    wrong(&|o| o.valid_share = f64::NAN, "share");
    wrong(&|o| o.sources.clear(), "source");
}

#[test]
fn an_existing_tokenizer_with_a_large_vocabulary_makes_u32() {
    let (source, out) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let vocab = (0..70_000).map(|n| (format!("w{n}"), n)).collect();
    let model = WordLevel::builder().vocab(vocab).unk_token("w0".to_owned()).build().unwrap();
    let mut large = Tokenizer::new(model);
    large.with_pre_tokenizer(Some(Whitespace {}));
    let path = out.path().join("large.json");
    large.save(&path, false).unwrap();
    for file in 0..4 {
        let words: Vec<String> = (0..40).map(|n| format!("w{}", 69_900 + file + n)).collect();
        write(source.path(), &format!("{file}"), words.join(" "));
    }
    let mut options = options(&source, &out);
    options.tokenizer = Some(path.clone());
    let meta = run(&options).unwrap();
    assert_eq!((meta.dtype, meta.vocab_size, meta.end_of_text), (Dtype::U32, 70_000, None));
    assert_eq!(fs::metadata(options.out.join("train.bin")).unwrap().len(), meta.train.tokens * 4);
    assert_eq!(fs::read(&path).unwrap(), fs::read(options.out.join("tokenizer.json")).unwrap());
    let first = chunks(&options, "train.bin")[0][0];
    assert!((69_900..69_904).contains(&first), "{first}");
    Corpus::open(&options.out, 8, 70_000).unwrap();

    options.pack = true;
    assert_fault(run(&options), Kind::Data, &["packing", "<|endoftext|>"]);
    options.pack = false;
    // At 65,536 tokens every id still fits 16 bits, but the type depends on the size of the vocabulary.
    assert_eq!(Dtype::for_vocab(65_535), Dtype::U16);
    assert_eq!(Dtype::for_vocab(65_536), Dtype::U32);
    fs::write(&path, "{}").unwrap();
    assert_fault(run(&options), Kind::Data, &["tokenizer", "large.json"]);
    large.add_special_tokens([AddedToken::from("<|endoftext|>", true)]).unwrap();
    large.save(&path, false).unwrap();
    let meta = run(&options).unwrap();
    assert_eq!((meta.vocab_size, meta.end_of_text), (70_001, Some(70_000)));
}

#[test]
fn progress_goes_through_the_stages() {
    let (source, out) = (corpus(5), TempDir::new().unwrap());
    let mut seen: Vec<Progress> = Vec::new();
    prepare(&options(&source, &out), &mut |progress| seen.push(progress)).unwrap();
    let mut stages: Vec<Stage> = seen.iter().map(|p| p.stage).collect();
    stages.dedup();
    assert_eq!(stages, [Stage::Survey, Stage::Learn, Stage::Merge, Stage::Encode]);
    for pair in seen.windows(2).filter(|pair| pair[0].stage == pair[1].stage) {
        assert!(pair[0].done <= pair[1].done && pair[1].done <= pair[1].total, "{pair:?}");
    }
    let last = seen.last().unwrap();
    assert_eq!(last.done, last.total);
}

#[test]
fn a_file_that_changes_meanwhile_is_a_fault_and_the_old_data_stays() {
    let (source, out) = (corpus(5), TempDir::new().unwrap());
    let options = options(&source, &out);
    run(&options).unwrap();
    let before = folder_bytes(&options.out);
    for stage in [Stage::Learn, Stage::Merge] {
        let result = prepare(&options, &mut |progress| {
            if progress.stage == stage {
                write(source.path(), "m04.py", format!("during = '{stage}'\n"));
            }
        });
        assert_fault(result, Kind::Data, &["changed", "m04.py"]);
        assert_eq!(folder_bytes(&options.out), before);
    }
}

#[test]
fn auto_finds_source_code() {
    let out = TempDir::new().unwrap();
    let mut options = options("auto", &out);
    options.max_bytes = Some(200_000);
    let meta = run(&options).unwrap();
    let description = &meta.source.description[0];
    assert!(description.contains("Python standard library") || description.contains("Rust crates"));
    assert!(meta.source.bytes > 100_000, "{meta:?}");
}

#[test]
fn a_folder_is_checked_against_the_model() {
    let (source, out) = (corpus(9), TempDir::new().unwrap());
    let options = options(&source, &out);
    run(&options).unwrap();
    let open = |length, vocab| Corpus::open(&options.out, length, vocab);
    let corpus = open(16, 400).unwrap();
    assert_eq!(open(8, 400).unwrap().train.sequences(), 2 * corpus.train.sequences());
    assert_eq!(open(16, 512).unwrap().train.sequences(), corpus.train.sequences());
    for length in [0, 5, 32] {
        assert_fault(open(length, 400), Kind::Data, &["chunks of 16", &format!("sequences of {length}")]);
    }
    for vocab in [399, 528, 50_257] {
        assert_fault(open(16, vocab), Kind::Data, &["400", &format!("model.vocab_size = {vocab}")]);
    }

    let train = options.out.join("train.bin");
    let good = fs::read(&train).unwrap();
    for length in [good.len() - 1, good.len() - 32, 0] {
        fs::write(&train, &good[..length]).unwrap();
        assert_fault(open(16, 400), Kind::Data, &["train.bin", &counted(length as u64, "byte")]);
    }
    let mut wrong = good.clone();
    wrong[2 * 21..2 * 22].copy_from_slice(&400u16.to_le_bytes());
    fs::write(&train, wrong).unwrap();
    assert_fault(open(16, 400), Kind::Data, &["train.bin, token 21", "id 400"]);
    fs::remove_file(&train).unwrap();
    assert_fault(open(16, 400), Kind::Data, &["train.bin", "0 bytes"]);
    fs::write(&train, good).unwrap();

    let meta = options.out.join("meta.json");
    let text = fs::read_to_string(&meta).unwrap();
    fs::write(&meta, text.replace("\"format\": 1", "\"format\": 9")).unwrap();
    assert_fault(open(16, 400), Kind::Data, &["meta.json", "format 9"]);
    fs::write(&meta, &text[..text.len() / 2]).unwrap();
    assert_fault(open(16, 400), Kind::Data, &["meta.json", "line"]);
    fs::remove_file(&meta).unwrap();
    assert_fault(open(16, 400), Kind::Data, &["no prepared data", "val.bin"]);
    assert_fault(Corpus::open(&out.path().join("none"), 16, 400), Kind::Data, &["missing", "prepare"]);
}

#[test]
fn nanogpt_folders_are_read() {
    let folder = TempDir::new().unwrap();
    let tokens: Vec<u32> = (0..1003).map(|n| n * 31 % 977).collect();
    write_token_file(&folder.path().join("train.bin"), &tokens, Dtype::U16).unwrap();
    write_token_file(&folder.path().join("val.bin"), &tokens[..100], Dtype::U16).unwrap();
    write(folder.path(), "meta.pkl", b"\x80\x04");
    let corpus = Corpus::open(folder.path(), 10, 977).unwrap();
    assert!(corpus.meta.is_none());
    assert_eq!((corpus.train.sequences(), corpus.valid.sequences()), (100, 10));
    let mut sequence = [0; 10];
    corpus.train.sequence(99, &mut sequence);
    assert_eq!(sequence, tokens[990..1000]);

    assert_fault(Corpus::open(folder.path(), 10, 976), Kind::Data, &["train.bin, token", "id 976"]);
    assert_fault(Corpus::open(folder.path(), 101, 977), Kind::Data, &["val.bin", "100 tokens"]);
    write(folder.path(), "val.bin", [1, 0, 2]);
    assert_fault(Corpus::open(folder.path(), 1, 977), Kind::Data, &["val.bin", "3 bytes"]);
    write(folder.path(), "val.bin", []);
    assert_fault(Corpus::open(folder.path(), 1, 977), Kind::Data, &["val.bin", "0 tokens"]);

    // And not overwritten.
    let source = self::corpus(3);
    let mut options = options(&source, &folder);
    options.out = folder.path().to_path_buf();
    assert_fault(run(&options), Kind::Usage, &["not empty", "in it"]);
}

/// A token file whose sequence `s` is `[s, s + 1, …]`, `length` tokens long.
fn numbered(folder: &TempDir, sequences: u32, length: u32) -> TokenFile {
    let tokens: Vec<u32> = (0..sequences).flat_map(|s| (0..length).map(move |t| s + t)).collect();
    let path = folder.path().join(format!("{sequences}x{length}.bin"));
    write_token_file(&path, &tokens, Dtype::U16).unwrap();
    TokenFile::open(&path, Dtype::U16, length as usize, 65_535).unwrap()
}

/// The first token of each sequence of the next `count` batches.
fn dealt(batches: &mut Batches, batch: &mut Batch, count: usize) -> Vec<u32> {
    let mut firsts = Vec::new();
    for _ in 0..count {
        batches.fill(batch);
        firsts.extend(batch.tokens.chunks(batch.tokens.len() / batch.size()).map(|row| row[0]));
    }
    firsts
}

#[test]
fn shuffling_deals_every_sequence_once_an_epoch() {
    let folder = TempDir::new().unwrap();
    let file = numbered(&folder, 101, 4);
    let mut batch = Batch::new(8, 4);
    let mut batches = Batches::new(file.clone(), Order::Shuffle, 7, None);
    let all = dealt(&mut batches, &mut batch, 101);
    assert_eq!(batches.cursor(), 808);
    for epoch in all.chunks(101) {
        assert_eq!(epoch.iter().collect::<HashSet<_>>().len(), 101);
    }
    assert_ne!(all[..101], all[101..202], "each epoch has an order of its own");
    assert!(
        all[..101].windows(2).filter(|two| two[0] < two[1]).count().abs_diff(50) < 20,
        "{:?}",
        &all[..101]
    );

    let mut again = Batches::new(file.clone(), Order::Shuffle, 7, None);
    again.seek(13 * 8);
    assert_eq!(dealt(&mut again, &mut batch, 60), all[13 * 8..73 * 8], "as if never stopped");
    let mut other = Batches::new(file, Order::Shuffle, 8, None);
    assert_ne!(dealt(&mut other, &mut batch, 10), all[..80], "the seed decides the order");
}

/// `data.train_tokens`: 13 tokens are three sequences of four, spread over ten.
#[test]
fn fewer_tokens_are_spread_over_the_file() {
    let folder = TempDir::new().unwrap();
    let file = numbered(&folder, 10, 4);
    let few = file.clone().spread_over(13).unwrap();
    assert_eq!((few.sequences(), few.tokens()), (3, 40));
    let first = |file: &TokenFile, index: usize| {
        let mut tokens = [0; 4];
        file.sequence(index, &mut tokens);
        tokens
    };
    for (index, of) in [(0, 0), (1, 3), (2, 6)] {
        assert_eq!(first(&few, index), first(&file, of));
    }
    // An epoch has each of the three once.
    let mut batches = Batches::new(few, Order::Shuffle, 7, None);
    let mut batch = Batch::new(3, 4);
    batches.fill(&mut batch);
    let mut seen: Vec<&[u32]> = batch.tokens.chunks(4).collect();
    seen.sort_unstable();
    let mut wanted = [0, 3, 6].map(|index| first(&file, index));
    wanted.sort_unstable();
    assert_eq!(seen, wanted);
    assert_eq!(file.clone().spread_over(40).unwrap().sequences(), 10);
    for (tokens, part) in [(44, "44 tokens asked for, 40 there"), (3, "3 tokens, where a sequence has 4")] {
        let fault = file.clone().spread_over(tokens).unwrap_err();
        assert!(fault.to_string().contains(part), "{fault}");
    }
}

#[test]
fn sequential_order_is_the_file_s() {
    let folder = TempDir::new().unwrap();
    let mut batches = Batches::new(numbered(&folder, 10, 4), Order::Sequential, 1, None);
    let mut batch = Batch::new(4, 4);
    assert_eq!(dealt(&mut batches, &mut batch, 3), [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1]);
    batches.seek(20);
    assert_eq!(dealt(&mut batches, &mut batch, 1), [0, 1, 2, 3]);
}

#[test]
fn evaluation_sees_every_sequence_once() {
    let folder = TempDir::new().unwrap();
    let mut batches = Batches::new(numbered(&folder, 10, 4), Order::Sequential, 1, None);
    let mut batch = Batch::new(4, 4);
    let passes: Vec<(usize, u32)> =
        (0..5).map(|_| (batches.fill_to_end(&mut batch), batch.counted)).collect();
    assert_eq!(passes, [(4, 12), (4, 12), (2, 6), (0, 0), (0, 0)]);
    batches.seek(8);
    batches.fill_to_end(&mut batch);
    assert_eq!(batch.tokens, [8, 9, 10, 11, 9, 10, 11, 12, 0, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(batch.targets[8..], [IGNORED; 8]);
}

#[test]
fn targets_are_the_next_tokens() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("t.bin");
    write_token_file(&path, &[5, 6, 0, 7, 0, 9, 9, 0], Dtype::U16).unwrap();
    let file = TokenFile::open(&path, Dtype::U16, 4, 10).unwrap();
    let mut batch = Batch::new(2, 4);
    Batches::new(file.clone(), Order::Sequential, 1, None).fill(&mut batch);
    assert_eq!(batch.targets, [6, 0, 7, IGNORED, 9, 9, 0, IGNORED]);
    assert_eq!(batch.counted, 6);
    Batches::new(file, Order::Sequential, 1, Some(0)).fill(&mut batch);
    assert_eq!(batch.targets, [6, IGNORED, 7, IGNORED, 9, 9, IGNORED, IGNORED]);
    assert_eq!(batch.counted, 4);
    assert_eq!(batch.sorted, [2, 4, 7, 0, 1, 3, 5, 6]);
    assert_eq!(batch.segments, [0, 3, 4, 5, 6, 8, 8, 8, 8]);
    assert_eq!(batch.distinct, 5);
}

proptest! {
    #![proptest_config(crate::support::cases())]

    #[test]
    fn a_permutation_is_one(len in 1u64..3000, seed: u64, epoch in 0u64..4) {
        let permutation = Permutation::new(len, seed, epoch);
        let images: HashSet<u64> = (0..len).map(|index| permutation.apply(index)).collect();
        prop_assert_eq!(images.len() as u64, len);
        prop_assert!(images.iter().all(|&image| image < len));
    }

    #[test]
    fn segments_hold_each_token_s_positions(
        rows in 1usize..5, length in 1usize..40, vocab in 1u32..50, seed: u64,
    ) {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("p.bin");
        let draw = Permutation::new(1 << 40, seed, 0);
        let tokens: Vec<u32> = (0..(rows * length) as u64).map(|n| (draw.apply(n) % u64::from(vocab)) as u32).collect();
        write_token_file(&path, &tokens, Dtype::U32).unwrap();
        let file = TokenFile::open(&path, Dtype::U32, length, vocab as usize).unwrap();
        let mut batch = Batch::new(rows, length);
        Batches::new(file, Order::Shuffle, seed, None).fill(&mut batch);

        let n = rows * length;
        let distinct = batch.distinct as usize;
        prop_assert_eq!(distinct, batch.tokens.iter().collect::<HashSet<_>>().len());
        prop_assert_eq!(batch.counted as usize, rows * (length - 1));
        prop_assert_eq!(batch.segments.len(), n + 1);
        prop_assert!(batch.segments[distinct..].iter().all(|&s| s as usize == n));
        let mut places = batch.sorted.clone();
        places.sort();
        prop_assert_eq!(places, (0..n as u32).collect::<Vec<_>>());
        let mut previous = None;
        for s in 0..distinct {
            let segment = &batch.sorted[batch.segments[s] as usize..batch.segments[s + 1] as usize];
            let token = batch.tokens[segment[0] as usize];
            prop_assert!(segment.windows(2).all(|two| two[0] < two[1]), "stable within a token");
            prop_assert!(segment.iter().all(|&place| batch.tokens[place as usize] == token));
            prop_assert!(previous < Some(token));
            previous = Some(token);
        }
    }
}
