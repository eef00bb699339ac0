//! Identifies data: digests of all of its bytes.

use serde::{Deserialize, Serialize};

use super::corpus::Corpus;
use super::meta::Dtype;
use crate::fault::Result;
use crate::files::sha256;

/// Identifies a run's data: every byte that it trains on, how the bytes are read, and the tokenizer. The path of the
/// folder is not part of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataSeal {
    /// SHA-256 of the training token file.
    pub train: String,
    /// SHA-256 of the held-out token file.
    pub valid: String,
    pub dtype: Dtype,
    /// The token that targets may leave out.
    pub end_of_text: Option<u32>,
    /// SHA-256 of `tokenizer.json`, if the folder has one.
    pub tokenizer: Option<String>,
}

impl DataSeal {
    /// Reads every byte of a folder's token files and its tokenizer.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io) if the tokenizer cannot be read.
    pub fn of(corpus: &Corpus) -> Result<Self> {
        let tokenizer = corpus.tokenizer()?;
        Ok(Self {
            train: corpus.train.sha256(),
            valid: corpus.valid.sha256(),
            dtype: corpus.train.dtype(),
            end_of_text: corpus.meta.as_ref().and_then(|meta| meta.end_of_text),
            tokenizer: tokenizer.as_deref().map(sha256),
        })
    }

    /// How `found`, in place of this data, differs from it; `None` if it is the same. A folder
    /// that has lost its tokenizer counts as the same, because training does not read that file.
    pub fn difference(&self, found: &Self) -> Option<String> {
        let parts = [
            (self.train != found.train, "training tokens"),
            (self.valid != found.valid, "held-out tokens"),
            (self.dtype != found.dtype, "type of tokens"),
            (self.end_of_text != found.end_of_text, "end-of-text token"),
            (self.has_other_tokenizer(found), "tokenizer"),
        ];
        let other: Vec<&str> = parts.iter().filter(|(differs, _)| *differs).map(|(_, part)| *part).collect();
        (!other.is_empty()).then(|| format!("other {}", other.join(", other ")))
    }

    /// Whether the held-out tokens are the same and stand for the same text.
    pub fn same_text(&self, other: &Self) -> bool {
        self.valid == other.valid && self.dtype == other.dtype && !self.has_other_tokenizer(other)
    }

    /// Whether both have a tokenizer, and not the same.
    fn has_other_tokenizer(&self, other: &Self) -> bool {
        self.tokenizer.as_ref().zip(other.tokenizer.as_ref()).is_some_and(|(one, other)| one != other)
    }

    /// Whether the tokens are the same, regardless of the tokenizer file.
    pub fn same_tokens(&self, other: &Self) -> bool {
        Self { tokenizer: None, ..self.clone() } == Self { tokenizer: None, ..other.clone() }
    }
}
