//! The progress of `prepare`, as its stages report it.

use std::fmt;

/// The current stage of `prepare`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading every file once, to find what is text and to hash it.
    Survey,
    /// Counting words for the tokenizer.
    Learn,
    /// Merging pairs into tokens; its progress counts tokens.
    Merge,
    /// Encoding and writing.
    Encode,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Survey => "reading",
            Self::Learn => "counting words",
            Self::Merge => "learning the tokenizer",
            Self::Encode => "encoding",
        })
    }
}

/// The progress of a stage, in bytes of text, or in tokens to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

/// Receives progress, once per file or piece of one; may be called from another thread.
pub type Report<'a> = &'a mut (dyn FnMut(Progress) + Send);
