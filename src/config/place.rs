//! Where a value of a configuration was typed.

use std::fmt;
use std::rc::Rc;

/// Where a value comes from.
#[derive(Clone)]
pub(crate) enum Place {
    Line(Rc<str>, usize),
    Set,
    Default,
    /// A `Config` made in code.
    Code,
}

impl Place {
    /// The place of `key`, for a message.
    pub fn of(&self, key: &str) -> String {
        match self {
            Self::Line(..) => format!("{self}, key {key}"),
            Self::Set => format!("--set {key}"),
            Self::Default => format!("key {key} (left at its default)"),
            Self::Code => format!("key {key}"),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line(name, line) => write!(f, "{name} line {line}"),
            Self::Set => f.write_str("--set"),
            Self::Default => f.write_str("the defaults"),
            Self::Code => f.write_str("the configuration"),
        }
    }
}
