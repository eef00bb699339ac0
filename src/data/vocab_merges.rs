//! A tokenizer in GPT-2's first form, `vocab.json` and `merges.txt`, as a `tokenizer.json`.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};
use tokenizers::pre_tokenizers::byte_level::ByteLevel;

use crate::fault::{Fault, Kind, Result};

/// The names of the two files.
pub const VOCAB_FILE: &str = "vocab.json";
pub const MERGES_FILE: &str = "merges.txt";

/// Whether parsed JSON is a vocabulary: an object whose values are all numbers.
pub fn is_vocab(root: &Value) -> bool {
    root.as_object().is_some_and(|map| !map.is_empty() && map.values().all(Value::is_u64))
}

/// Where the other of the two files is: of `x-vocab.json` it is `x-merges.txt` beside it, and the other way round.
pub fn beside(path: &Path) -> PathBuf {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let other = match name.strip_suffix(MERGES_FILE) {
        Some(before) => format!("{before}{VOCAB_FILE}"),
        None => format!("{}{MERGES_FILE}", name.strip_suffix(VOCAB_FILE).unwrap_or_default()),
    };
    path.with_file_name(other)
}

/// Makes a `tokenizer.json` of a vocabulary and the text of its merges, with GPT-2's pre-tokenizer.
///
/// # Errors
/// [`Kind::Data`] if they are not those of a byte-level BPE.
pub fn tokenizer_json(
    vocab: &Map<String, Value>,
    vocab_path: &Path,
    merges: &str,
    merges_path: &Path,
    end_of_text: &str,
) -> Result<Vec<u8>> {
    let unusable = |path: &Path, found: String| {
        Fault::new(Kind::Data, "the tokenizer cannot be used").at(path.display()).found(found).remedy(
            "give the vocab.json and merges.txt of one byte-level BPE, such as GPT-2's, or a tokenizer.json",
        )
    };
    let alphabet: BTreeSet<String> = ByteLevel::alphabet().into_iter().map(String::from).collect();
    let missing = alphabet.iter().filter(|byte| !vocab.contains_key(*byte)).count();
    if missing > 0 {
        let found = format!("a vocabulary without tokens for {missing} of the 256 bytes");
        return Err(unusable(vocab_path, found));
    }
    if let Some(token) = vocab.keys().find(|token| token.ends_with("</w>") && token.len() > 4) {
        return Err(unusable(vocab_path, format!("the token {token:?}, which marks the ends of words")));
    }
    let mut pairs = Vec::new();
    for (line, number) in merges.lines().zip(1..) {
        if line.is_empty() || (number == 1 && line.starts_with("#version")) {
            continue;
        }
        let wrong = |what: String| unusable(merges_path, format!("{what}, in line {number}"));
        let (left, right) = line
            .split_once(' ')
            .filter(|(left, right)| !left.is_empty() && !right.is_empty() && !right.contains(' '))
            .ok_or_else(|| wrong(format!("{:?} in place of two tokens", shortened(line))))?;
        let unknown = [left.to_owned(), right.to_owned(), format!("{left}{right}")]
            .into_iter()
            .find(|t| !vocab.contains_key(t));
        if let Some(token) = unknown {
            return Err(wrong(format!(
                "a merge with the token {:?}, which the vocabulary lacks",
                shortened(&token)
            )));
        }
        pairs.push(line);
    }
    let byte_level =
        json!({ "type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true });
    let added: Vec<Value> = vocab
        .get(end_of_text)
        .map(|id| {
            json!({
                "id": id, "content": end_of_text, "single_word": false, "lstrip": false, "rstrip": false,
                "normalized": false, "special": true,
            })
        })
        .into_iter()
        .collect();
    let root = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": added, "normalizer": null,
        "pre_tokenizer": byte_level, "post_processor": null, "decoder": byte_level,
        "model": {
            "type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null,
            "end_of_word_suffix": null, "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
            "vocab": vocab, "merges": pairs,
        },
    });
    Ok(serde_json::to_vec_pretty(&root).expect("a tokenizer has string keys"))
}

/// The beginning of a text, for a message.
fn shortened(text: &str) -> String {
    text.chars().take(40).collect()
}
