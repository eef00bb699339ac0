//! One object of a JSON lines file or of a JSON array.

use std::fmt;

use serde::de::{DeserializeSeed, Error, IgnoredAny, MapAccess, Visitor};
use serde_json::Deserializer;

use super::columns::Columns;

/// Other keys are remembered up to this many, for a message.
const REMEMBERED: usize = 16;

/// The document of an object: what it has under the first of `columns` that is there and not null.
///
/// # Errors
/// A description of what the line is instead.
pub fn document(line: &str, columns: &Columns) -> Result<String, String> {
    if line.starts_with('\u{feff}') {
        return Err("a byte order mark before the object".to_owned());
    }
    if !line.trim_start().starts_with('{') {
        return Err("not a JSON object".to_owned());
    }
    let mut json = Deserializer::from_str(line);
    let read = Record(columns).deserialize(&mut json).and_then(|record| json.end().map(|()| record));
    let (texts, others) = read.map_err(|e| {
        // The line number in the message is dropped: it counts within this line, not in the file.
        let found = e.to_string();
        found
            .split(" at line ")
            .next()
            .map_or(found.clone(), |what| format!("{what}, at column {}", e.column()))
    })?;
    texts.into_iter().flatten().next().ok_or_else(|| columns.missing(&others))
}

/// Reads the columns' values, and the names of other keys; the rest of the object takes no memory.
struct Record<'a>(&'a Columns);

type Read = (Vec<Option<String>>, Vec<String>);

impl<'de> DeserializeSeed<'de> for Record<'_> {
    type Value = Read;

    fn deserialize<D: serde::Deserializer<'de>>(self, json: D) -> Result<Read, D::Error> {
        json.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Record<'_> {
    type Value = Read;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read, A::Error> {
        let names = self.0.names();
        let mut texts: Vec<Option<Option<String>>> = vec![None; names.len()];
        let mut others = Vec::new();
        while let Some(key) = map.next_key::<String>()? {
            match names.iter().position(|name| *name == key) {
                Some(place) if texts[place].is_some() => {
                    return Err(A::Error::custom(format!("duplicate field `{key}`")));
                }
                Some(place) => texts[place] = Some(map.next_value()?),
                None => {
                    map.next_value::<IgnoredAny>()?;
                    if others.len() < REMEMBERED {
                        others.push(key);
                    }
                }
            }
        }
        Ok((texts.into_iter().map(Option::flatten).collect(), others))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual(line: &str) -> Result<String, String> {
        document(line, &Columns::new(None))
    }

    #[test]
    fn documents_are_found() {
        assert_eq!(usual(r#" {"id": 1, "text": "a\n\u00e9\ud83d\ude00"} "#).unwrap(), "a\né😀");
        assert_eq!(usual(r#"{"text": null, "content": "b"}"#).unwrap(), "b");
        assert_eq!(usual(r#"{"content": "b", "text": ""}"#).unwrap(), "");
        assert_eq!(document(r#"{"text": 1, "body": "b"}"#, &Columns::new(Some("body"))).unwrap(), "b");
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
            (r#"{"text": "a"} {}"#, "trailing characters"),
            (r#"{"text": 1}"#, "invalid type: integer `1`, expected a string, at column 10"),
            (r#"{"text": "a", "text": "b"}"#, "duplicate field `text`"),
            (r#"{"body": 1}"#, "neither `text` nor `content`, but `body`"),
            (r#"{"text": null}"#, "neither `text` nor `content`"),
        ] {
            let found = usual(line).unwrap_err();
            assert!(found.contains(words), "{line}: {found}");
        }
        let deep = format!("{{\"a\": {}", "[".repeat(100_000));
        assert!(usual(&deep).is_err());
    }
}
