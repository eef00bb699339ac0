//! How far `prepare` has come, as its stages tell it.

use std::fmt;

/// What `prepare` is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading every file once: what is text, and its hash.
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

/// How far a stage has come, in bytes of text, or in tokens to learn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    pub stage: Stage,
    pub done: u64,
    pub total: u64,
}

/// Who is told of progress, once per file or piece of one; it may be called from another thread.
pub type Report<'a> = &'a mut (dyn FnMut(Progress) + Send);
