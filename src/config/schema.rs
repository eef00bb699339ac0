//! The schema of keys: accepted values, default, where it may change, and documentation.
//!
//! The same rows check a file, a `--set`, and a [`super::Config`] made in code; `normfree keys` prints them.

use super::value::Value;
use crate::model::family::Setting;
use crate::ops::norms::Normalization;
use crate::words::Word;

/// The tables, in the order they are written.
pub(crate) const TABLES: [&str; 4] = ["model", "data", "train", "observe"];

/// One key.
pub(super) struct Row {
    /// The full name, with its table: `model.n_layer`.
    pub key: &'static str,
    pub accepts: Accepts,
    pub otherwise: Otherwise,
    pub changes: Changes,
    /// Documentation in Markdown; the key's words have their own.
    pub about: &'static str,
}

/// Where a key may change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Changes {
    Never,
    /// When a run is resumed: it affects neither weights nor data.
    OnResume,
    /// Between runs that count as one configuration.
    InComparison,
    /// In both cases.
    Freely,
}

impl Changes {
    /// Whether a run may be resumed with a different value.
    pub fn on_resume(self) -> bool {
        matches!(self, Self::OnResume | Self::Freely)
    }

    /// Whether runs that differ only in this key are one configuration.
    pub fn in_comparison(self) -> bool {
        matches!(self, Self::InComparison | Self::Freely)
    }
}

/// Which values a key accepts.
pub(super) enum Accepts {
    /// Inclusive on both ends.
    Integer(u64, u64),
    /// From 2⁰ to 2 to this power.
    PowerOfTwo(u32),
    Number(Span),
    Flag,
    /// Not empty.
    Text,
    Words(&'static [Word]),
    /// true, false, or a word.
    FlagOrWord(&'static [Word]),
}

/// Ranges of numbers. All must also be finite in f32, the type in which the device computes.
#[derive(Clone, Copy)]
pub(super) enum Span {
    Any,
    /// Greater than zero, and large enough that a device does not flush it to zero.
    Positive,
    NotNegative,
    /// [0, 1)
    BelowOne,
    /// [0, 1]
    Share,
}

/// A key's default, if the family does not have its own.
#[derive(Clone, Copy)]
pub(super) enum Otherwise {
    Required,
    /// Stays unset.
    Absent,
    Is(Setting),
    /// A multiple of another key, which is required and an integer.
    Times(i128, &'static str),
    /// What the data are: a count that their `meta.json` has; see [`Draft`](super::Draft).
    OfData(&'static str),
    /// A part of another key, which is an integer: one of so many, rounded up.
    Part(u32, &'static str),
    /// A number that follows from `model.norm`.
    OfNorm(fn(&Normalization) -> f64),
}

impl Accepts {
    /// Checks `value`; the error says what is wrong with it.
    pub fn check(&self, value: &Value) -> Result<(), &'static str> {
        let (fits, otherwise) = match (self, value) {
            (Self::Integer(least, most), Value::Integer(number)) => {
                let range = i128::from(*least)..=i128::from(*most);
                (range.contains(number), "value out of range")
            }
            (Self::PowerOfTwo(most), Value::Integer(number)) => {
                ((0..=*most).any(|power| *number == 1 << power), "value out of range")
            }
            (Self::Number(span), Value::Float(number)) => (span.contains(*number), "value out of range"),
            (Self::Number(span), Value::Integer(number)) => {
                (span.contains(*number as f64), "value out of range")
            }
            (Self::Flag, Value::Flag(_)) => (true, ""),
            (Self::Text, Value::Text(text)) => (!text.trim().is_empty(), "empty text"),
            (Self::Words(words), Value::Text(text)) => {
                (words.iter().any(|word| word.word == text), "unknown word")
            }
            (Self::FlagOrWord(_), Value::Flag(_)) => (true, ""),
            (Self::FlagOrWord(words), Value::Text(text)) => {
                (words.iter().any(|word| word.word == text), "unknown word")
            }
            _ => (false, "wrong type"),
        };
        if fits { Ok(()) } else { Err(otherwise) }
    }

    /// The accepted values, as a noun phrase.
    pub fn expected(&self) -> String {
        match self {
            Self::Integer(least, most) => format!("an integer from {least} to {most}"),
            Self::PowerOfTwo(most) => format!("a power of two from 1 to {}", 1_u64 << most),
            Self::Number(span) => span.expected().to_owned(),
            Self::Flag => "true or false".to_owned(),
            Self::Text => "a non-empty string".to_owned(),
            Self::Words(words) => quoted(words),
            Self::FlagOrWord(words) => format!("true or false or {}", quoted(words)),
        }
    }
}

/// Words as a configuration has them.
fn quoted(words: &[Word]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("\"{}\"", word.word)).collect();
    quoted.join(" or ")
}

impl Span {
    fn contains(self, number: f64) -> bool {
        let on_device = number as f32;
        on_device.is_finite()
            && match self {
                Self::Any => true,
                Self::Positive => on_device >= f32::MIN_POSITIVE,
                Self::NotNegative => number >= 0.0,
                // 0.99999999999 is 1 in f32.
                Self::BelowOne => number >= 0.0 && on_device < 1.0,
                Self::Share => (0.0..=1.0).contains(&number),
            }
    }

    fn expected(self) -> &'static str {
        match self {
            Self::Any => "a finite number",
            Self::Positive => "a number greater than 0 (in f32: from 1.2e-38 to 3.4e38)",
            Self::NotNegative => "a finite number, 0 or greater",
            Self::BelowOne => "a number from 0 to below 1 (in f32)",
            Self::Share => "a number from 0 to 1",
        }
    }
}
