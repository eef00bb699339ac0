//! Checks a `tokenizer.json` before the library reads it: what is refused, and what is corrected.

use crate::fault::of_json;
use std::collections::HashMap;

use serde_json::{Map, Value, json};

/// The token that stands between documents, unless the user names another.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// The maximum number of tokens: the most a model may have.
pub const LARGEST_VOCAB: usize = 1 << 24;

/// A `tokenizer.json` that is safe to give to the library.
#[derive(Debug)]
pub struct Checked {
    /// Its contents, unchanged if nothing had to be corrected.
    pub json: Vec<u8>,
    /// The corrections, each a sentence.
    pub notes: Vec<String>,
    /// The added tokens and their ids in the file.
    pub added: Vec<(String, u64)>,
}

impl Checked {
    /// Checks `json`. Corrects what would make encoding random, or would let text encode to the token `end_of_text`.
    ///
    /// # Errors
    /// What is wrong, to follow the word "found".
    pub fn new(json: Vec<u8>, end_of_text: &str) -> Result<Self, String> {
        let mut root: Value = serde_json::from_slice(&json)
            .map_err(|e| format!("incomplete or invalid JSON: {}", of_json(&e)))?;
        let root = root.as_object_mut().ok_or("JSON, but not an object")?;
        let model = root.get("model").and_then(Value::as_object).ok_or("an object without a `model`")?;
        check_vocab(model)?;
        let mut added = added_tokens(root)?;

        let mut notes = Vec::new();
        if put_dropout_right(root) {
            notes.push(
                "the given tokenizer drops merges at random (model.dropout); that is switched off, so that equal \
                 texts give equal tokens"
                    .to_owned(),
            );
        }
        if let Some(id) = put_end_of_text_right(root, end_of_text) {
            if added.iter().all(|(content, _)| content != end_of_text) {
                added.push((end_of_text.to_owned(), id));
            }
            notes.push(format!(
                "{end_of_text} is not a special token in the given tokenizer; it is used as one, so that no text encodes to it"
            ));
        }
        let json = match notes.is_empty() {
            true => json,
            false => serde_json::to_vec_pretty(root).map_err(|e| e.to_string())?,
        };
        Ok(Self { json, notes, added })
    }
}

/// Whether every token has one id, and every id one token.
fn check_vocab(model: &Map<String, Value>) -> Result<(), String> {
    let Some(Value::Object(vocab)) = model.get("vocab") else { return Ok(()) };
    let mut tokens: HashMap<u64, &str> = HashMap::with_capacity(vocab.len());
    for (token, id) in vocab {
        let whole = id.as_u64().filter(|&id| id < LARGEST_VOCAB as u64);
        let id = whole.ok_or_else(|| {
            format!("the id {id} of the token {token:?}, where ids range from 0 to {}", LARGEST_VOCAB - 1)
        })?;
        if let Some(other) = tokens.insert(id, token) {
            return Err(format!("the id {id} of two tokens, {other:?} and {token:?}"));
        }
    }
    Ok(())
}

/// The added tokens and their ids.
fn added_tokens(root: &Map<String, Value>) -> Result<Vec<(String, u64)>, String> {
    let entries = match root.get("added_tokens") {
        None => return Ok(Vec::new()),
        Some(entries) => entries.as_array().ok_or("`added_tokens` that is not an array")?,
    };
    let token =
        |entry: &Value| Some((entry.get("content")?.as_str()?.to_owned(), entry.get("id")?.as_u64()?));
    let complete =
        |entry| token(entry).ok_or_else(|| format!("an added token without `content` and `id`: {entry}"));
    entries.iter().map(complete).collect()
}

/// Switches off the sources of randomness in encoding.
fn put_dropout_right(root: &mut Map<String, Value>) -> bool {
    let dropout = root.get_mut("model").and_then(|model| model.get_mut("dropout"));
    match dropout {
        Some(dropout) if dropout.as_f64().is_some_and(|share| share > 0.0 && share <= 1.0) => {
            *dropout = Value::Null;
            true
        }
        _ => false,
    }
}

/// Makes an existing end-of-text token special. Returns its id if it was not special before.
fn put_end_of_text_right(root: &mut Map<String, Value>, end_of_text: &str) -> Option<u64> {
    let is_it = |entry: &&mut Value| entry.get("content").and_then(Value::as_str) == Some(end_of_text);
    let entries = root.get_mut("added_tokens").and_then(Value::as_array_mut);
    if let Some(entry) = entries.and_then(|entries| entries.iter_mut().find(is_it)) {
        let special = entry.get("special").and_then(Value::as_bool) == Some(true);
        entry["special"] = json!(true);
        return if special { None } else { entry["id"].as_u64() };
    }
    let vocab = root.get("model")?.get("vocab")?;
    let id = match vocab {
        Value::Object(vocab) => vocab.get(end_of_text)?.as_u64()?,
        // Unigram: pairs of token and score, numbered by position.
        Value::Array(vocab) => {
            vocab.iter().position(|entry| entry.get(0).and_then(Value::as_str) == Some(end_of_text))? as u64
        }
        _ => return None,
    };
    let token = json!({
        "id": id, "content": end_of_text, "single_word": false, "lstrip": false, "rstrip": false,
        "normalized": false, "special": true,
    });
    let entries = root.entry("added_tokens").or_insert_with(|| json!([])).as_array_mut()?;
    entries.push(token);
    entries.sort_by_key(|entry| entry["id"].as_u64());
    Some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(json: Value) -> Result<Checked, String> {
        Checked::new(json.to_string().into_bytes(), END_OF_TEXT)
    }

    #[test]
    fn a_valid_tokenizer_stays_as_it_is() {
        let text = br#"{"added_tokens":[], "model": {"type": "BPE", "dropout": null, "vocab": {"a": 0}}}"#;
        let checked = Checked::new(text.to_vec(), END_OF_TEXT).unwrap();
        assert_eq!((checked.json.as_slice(), checked.notes.len()), (text.as_slice(), 0));
    }

    #[test]
    fn dropout_and_an_unmarked_end_of_text_are_corrected() {
        let model = json!({ "dropout": 0.1, "vocab": { "a": 0, END_OF_TEXT: 1 } });
        let once = checked(json!({ "model": model })).unwrap();
        let json: Value = serde_json::from_slice(&once.json).unwrap();
        assert_eq!(json["model"]["dropout"], Value::Null);
        assert_eq!((&json["added_tokens"][0]["special"], once.notes.len()), (&json!(true), 2));
        assert_eq!(once.added, [(END_OF_TEXT.to_owned(), 1)]);
        assert!(Checked::new(once.json, END_OF_TEXT).unwrap().notes.is_empty());

        let plain = json!({ "id": 5, "content": END_OF_TEXT, "special": false });
        let once = checked(json!({ "added_tokens": [plain], "model": { "vocab": [["a", 0.0]] } })).unwrap();
        let json: Value = serde_json::from_slice(&once.json).unwrap();
        assert_eq!((&json["added_tokens"][0]["special"], once.notes.len()), (&json!(true), 1));
    }

    #[test]
    fn impossible_contents_are_named() {
        let with_vocab = |vocab: Value| checked(json!({ "model": { "vocab": vocab } })).unwrap_err();
        assert!(with_vocab(json!({ "a": 0, "b": 0 })).contains("the id 0 of two tokens"));
        for id in [json!(-1), json!(1 << 24), json!(0.5), json!("0"), Value::Null] {
            assert!(with_vocab(json!({ "a": id })).contains("of the token \"a\""), "{id}");
        }
        assert!(checked(json!([])).unwrap_err().contains("not an object"));
        assert!(checked(json!({})).unwrap_err().contains("`model`"));
        assert!(checked(json!({ "model": {}, "added_tokens": 1 })).unwrap_err().contains("array"));
        assert!(checked(json!({ "model": {}, "added_tokens": [{}] })).unwrap_err().contains("`content`"));
        assert!(
            Checked::new(b"{\"model\"".to_vec(), END_OF_TEXT)
                .unwrap_err()
                .contains("incomplete or invalid JSON")
        );
    }
}
