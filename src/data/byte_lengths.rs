//! How many bytes of text each token stands for.

use serde_json::Value;

/// The bytes of each token's text, by id, for a tokenizer of bytes; `None` for others, whose tokens stand for other text in
/// other places. Special tokens stand for none.
pub fn byte_lengths(tokenizer: &[u8]) -> Option<Vec<u32>> {
    let root: Value = serde_json::from_slice(tokenizer).ok()?;
    if !is_of_bytes(&root["decoder"]) {
        return None;
    }
    let mut lengths = Vec::new();
    let mut put = |id: u64, length: usize| {
        let id = usize::try_from(id).ok()?;
        if lengths.len() <= id {
            lengths.resize(id + 1, 0);
        }
        lengths[id] = u32::try_from(length).ok()?;
        Some(())
    };
    // In a vocabulary of bytes, each character stands for one.
    for (token, id) in root["model"]["vocab"].as_object()? {
        put(id.as_u64()?, token.chars().count())?;
    }
    for token in root["added_tokens"].as_array().into_iter().flatten() {
        let special = token["special"] == Value::Bool(true);
        let text = token["content"].as_str()?;
        put(token["id"].as_u64()?, if special { 0 } else { text.len() })?;
    }
    Some(lengths)
}

fn is_of_bytes(decoder: &Value) -> bool {
    let parts = decoder["decoders"].as_array();
    decoder["type"] == "ByteLevel" || parts.is_some_and(|parts| parts.iter().any(is_of_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_counted_in_bytes() {
        let tokenizer = json!({
            "decoder": { "type": "ByteLevel" },
            // Ġ is a blank, ÃĹ the two bytes of ×.
            "model": { "vocab": { "a": 1, "Ġab": 2, "ÃĹ": 3, "<|endoftext|>": 0 } },
            "added_tokens": [
                { "id": 0, "content": "<|endoftext|>", "special": true },
                { "id": 5, "content": "×ab", "special": false },
            ],
        });
        assert_eq!(byte_lengths(tokenizer.to_string().as_bytes()), Some(vec![0, 1, 3, 2, 0, 4]));
        let other = json!({ "decoder": { "type": "Metaspace" }, "model": { "vocab": { "a": 0 } } });
        assert_eq!(byte_lengths(other.to_string().as_bytes()), None);
    }
}
