//! The files of a tokenizer as `transformers` reads them.

use crate::data::END_OF_TEXT;
use serde_json::{Map, Value, json};

/// The contents of a tokenizer's three files.
pub struct TokenizerFiles {
    pub tokenizer: Vec<u8>,
    pub config: Value,
    pub special_tokens: Value,
}

/// The files for the `tokenizer.json` with these bytes, of a model of `context` positions. `None` if it is not JSON.
///
/// Without `model_input_names` the library adds token types, for which GPT-2 adds rows of its token table. Merges are
/// strings, because libraries before 2024 read no pairs.
pub fn tokenizer_files(json: &[u8], context: usize) -> Option<TokenizerFiles> {
    let mut root: Value = serde_json::from_slice(json).ok()?;
    let added = root["added_tokens"].as_array().into_iter().flatten();
    let ends = added.into_iter().any(|token| token["content"] == END_OF_TEXT);
    let tokenizer = if join_merges(&mut root) { format!("{root:#}\n").into_bytes() } else { json.to_vec() };
    let mut special = Map::new();
    if ends {
        special.extend(["bos_token", "eos_token"].map(|name| (name.to_owned(), json!(END_OF_TEXT))));
    }
    let mut config = json!({
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_input_names": ["input_ids", "attention_mask"],
        "model_max_length": context,
        "clean_up_tokenization_spaces": false,
    });
    config.as_object_mut()?.extend(special.clone());
    Some(TokenizerFiles { tokenizer, config, special_tokens: Value::Object(special) })
}

/// The `generation_config.json` of a model whose texts end with `end_of_text`.
pub fn generation_config(end_of_text: Option<u32>) -> Value {
    json!({ "bos_token_id": end_of_text, "eos_token_id": end_of_text, "do_sample": false })
}

/// Writes merges as strings, "a b", unless a token has a blank. Returns whether any was a pair.
fn join_merges(root: &mut Value) -> bool {
    let Some(Value::Array(merges)) = root["model"].get_mut("merges") else { return false };
    let pair = |merge: &Value| -> Option<String> {
        let [one, other] = merge.as_array()?.as_slice() else { return None };
        let (one, other) = (one.as_str()?, other.as_str()?);
        (!one.contains(' ') && !other.contains(' ')).then(|| format!("{one} {other}"))
    };
    let joined: Option<Vec<Value>> = merges.iter().map(|merge| pair(merge).map(Value::String)).collect();
    match joined {
        Some(joined) if !joined.is_empty() => {
            *merges = joined;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn merges_become_strings_and_token_types_are_left_out() {
        let json = json!({
            "added_tokens": [{ "id": 0, "content": END_OF_TEXT, "special": true }],
            "model": { "type": "BPE", "vocab": {}, "merges": [["a", "b"], ["ab", "Ġ"]] },
        });
        let files = tokenizer_files(json.to_string().as_bytes(), 32).unwrap();
        let written: Value = serde_json::from_slice(&files.tokenizer).unwrap();
        assert_eq!(written["model"]["merges"], json!(["a b", "ab Ġ"]));
        assert_eq!(files.config["model_input_names"], json!(["input_ids", "attention_mask"]));
        assert_eq!(
            (&files.config["eos_token"], &files.config["model_max_length"]),
            (&json!(END_OF_TEXT), &json!(32))
        );
        // Written once, it stays as it is.
        assert_eq!(tokenizer_files(&files.tokenizer, 32).unwrap().tokenizer, files.tokenizer);
    }
}
