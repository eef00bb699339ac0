//! One line of a JSON lines file.

use serde::Deserialize;

/// The fields read from a line; the rest of it takes no memory.
#[derive(Deserialize)]
struct Record {
    text: Option<String>,
    content: Option<String>,
}

/// The document of a line: an object's `text`, else its `content`.
///
/// # Errors
/// A description of what the line is instead.
pub fn document(line: &str) -> Result<String, String> {
    if line.starts_with('\u{feff}') {
        return Err("a byte order mark before the object".to_owned());
    }
    // An array would be read as the fields in order.
    if !line.trim_start().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    let record: Record = serde_json::from_str(line).map_err(|e| {
        // The line number in the message is dropped: it counts within this line, not in the file.
        let found = e.to_string();
        found
            .split(" at line ")
            .next()
            .map_or(found.clone(), |what| format!("{what}, at column {}", e.column()))
    })?;
    record.text.or(record.content).ok_or_else(|| "neither `text` nor `content`".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_found() {
        assert_eq!(document(r#" {"id": 1, "text": "a\n\u00e9\ud83d\ude00"} "#).unwrap(), "a\né😀");
        assert_eq!(document(r#"{"text": null, "content": "b"}"#).unwrap(), "b");
        assert_eq!(document(r#"{"content": "b", "text": ""}"#).unwrap(), "");
    }

    #[test]
    fn malformed_lines_are_described() {
        for (line, words) in [
            ("\u{feff}{\"text\": \"a\"}", "byte order mark"),
            (r#"{"text": "\ud800"}"#, "hex escape"),
            (r#"{"text": "\ud800 \udc00"}"#, "hex escape"),
            (r#"{"text": "\udc00"}"#, "surrogate"),
            (r#"["a", "b"]"#, "not a JSON object"),
            ("[", "not a JSON object"),
            (r#"{"text": "a""#, "EOF while parsing an object, at column 12"),
            (r#"{"text": 1}"#, "invalid type: integer `1`, expected a string, at column 10"),
            (r#"{"text": "a", "text": "b"}"#, "duplicate field `text`"),
            (r#"{"body": 1}"#, "neither `text` nor `content`"),
            (r#"{"text": null}"#, "neither `text` nor `content`"),
        ] {
            let found = document(line).unwrap_err();
            assert!(found.contains(words), "{line}: {found}");
        }
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        assert!(document(&deep).is_err());
    }
}
