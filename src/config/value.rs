//! A TOML value, owned, with integers wide enough for every key.

use std::fmt;

use serde_json::json;
use toml::de::DeValue;

use crate::model::family::Setting;

/// The value of a key.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    Integer(i128),
    Float(f64),
    Flag(bool),
    Text(String),
    /// The name of a type that no key takes.
    Other(&'static str),
}

impl Value {
    /// Parses a single TOML value; `None` if the text is not TOML.
    pub fn read(text: &str) -> Option<Self> {
        DeValue::parse(text).ok().map(|value| value.get_ref().into())
    }

    /// As JSON, from which the structs are deserialized: unlike `toml::Value`, it holds the whole range of u64.
    pub fn to_json(&self) -> serde_json::Value {
        match self {
            Self::Integer(number) => u64::try_from(*number)
                .map(|number| json!(number))
                .or_else(|_| i64::try_from(*number).map(|number| json!(number)))
                .unwrap_or_else(|_| json!(*number as f64)),
            Self::Float(number) => json!(number),
            Self::Flag(flag) => json!(flag),
            Self::Text(text) => json!(text),
            Self::Other(_) => serde_json::Value::Null,
        }
    }
}

impl From<Setting> for Value {
    fn from(setting: Setting) -> Self {
        match setting {
            Setting::Integer(number) => Self::Integer(number),
            Setting::Number(number) => Self::Float(number),
            Setting::Flag(flag) => Self::Flag(flag),
            Setting::Word(word) => Self::Text(word.to_owned()),
        }
    }
}

impl From<&DeValue<'_>> for Value {
    fn from(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) => i128::from_str_radix(number.as_str(), number.radix())
                .map_or(Self::Other("an integer of more than 128 bits"), Self::Integer),
            DeValue::Float(number) => number.as_str().parse().map_or(Self::Other("a float"), Self::Float),
            DeValue::Boolean(flag) => Self::Flag(*flag),
            DeValue::Datetime(_) => Self::Other("a date or time"),
            DeValue::Array(_) => Self::Other("an array"),
            DeValue::Table(_) => Self::Other("a table"),
        }
    }
}

/// The value as TOML writes it, and its type.
impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Integer(number) => write!(f, "{number} (an integer)"),
            Self::Float(number) => write!(f, "{number:?} (a float)"),
            Self::Flag(flag) => write!(f, "{flag} (a boolean)"),
            Self::Text(text) => {
                let shown: String = text.chars().take(60).collect();
                let more = if shown.len() < text.len() { "…" } else { "" };
                write!(f, "\"{}{more}\" (a string)", shown.escape_debug())
            }
            Self::Other(what) => f.write_str(what),
        }
    }
}
