//! `meta.json`: the contents of a prepared folder.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::place::{META_FILE, locate};
use crate::fault::{Fault, Kind, Result, of_json};

/// The version of the folder's layout this program writes and reads.
pub const FORMAT: u32 = 1;

/// The type of a token in a `.bin` file, little-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Dtype {
    U16,
    U32,
}

impl Dtype {
    /// The narrowest type for a vocabulary: `u16` up to 65,535 tokens, `u32` past that.
    pub fn for_vocab(vocab_size: usize) -> Self {
        if vocab_size > usize::from(u16::MAX) { Self::U32 } else { Self::U16 }
    }

    /// Bytes per token.
    pub fn bytes(self) -> usize {
        match self {
            Self::U16 => 2,
            Self::U32 => 4,
        }
    }
}

/// How the held-out part was separated from the rest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SplitBy {
    /// By document: no document has chunks in both parts.
    Document,
    /// The corpus has a single document that gives chunks (or is packed into one stream): its end is held out.
    Position,
}

/// The size of one part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub chunks: u64,
    /// `chunks` × the chunk length.
    pub tokens: u64,
    /// Documents read: files, or rows of files with many, including those shorter than a chunk.
    pub documents: u64,
}

/// What was read and left out, in files or rows, and what was not read at all.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// Not valid UTF-8.
    pub not_utf8: u64,
    /// Pictures, programs and other files with a zero byte, in a folder listed without chosen extensions.
    pub binary: u64,
    /// Rows without a text where the document should be.
    #[serde(default, skip_serializing_if = "is_default")]
    pub malformed: u64,
    /// Where the first file or row that is not UTF-8 or malformed is, and what is wrong with it.
    #[serde(default, skip_serializing_if = "is_default")]
    pub first: Option<String>,
    #[serde(default, skip_serializing_if = "is_default")]
    pub left_out: LeftOut,
}

/// What was not read of folders and globs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Files and folders whose name begins with a dot.
    pub hidden: u64,
    /// Whether a `.gitignore` was found, which may have excluded some.
    pub gitignore: bool,
}

impl LeftOut {
    /// Adds the counts of `other`.
    pub fn add(&mut self, other: Self) {
        self.hidden += other.hidden;
        self.gitignore |= other.gitignore;
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// The source of the text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceMeta {
    /// One line per source, as resolved.
    pub description: Vec<String>,
    /// Files used, after skipping and after the cap on bytes.
    pub files: u64,
    pub bytes: u64,
    /// SHA-256 over (path length, relative path, SHA-256 of the bytes used) of each file used, in order of path. The
    /// bytes are unpacked ones, and of Parquet those of the documents.
    pub sha256: String,
}

/// The contents of `meta.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Meta {
    pub format: u32,
    /// One more than the largest token id. May be lower than requested on a small corpus.
    pub vocab_size: usize,
    pub dtype: Dtype,
    /// Tokens per chunk.
    pub chunk: usize,
    /// Whether chunks run across documents, with the end of text between them.
    pub packed: bool,
    /// The id of the end of text, if the tokenizer has it.
    pub end_of_text: Option<u32>,
    pub seed: u64,
    /// The share of documents requested to be held out.
    pub valid_share: f64,
    pub split_by: SplitBy,
    pub train: Part,
    pub valid: Part,
    /// Tokens in tails too short for a chunk, which are in no file.
    pub dropped_tokens: u64,
    pub skipped: Skipped,
    pub source: SourceMeta,
    /// Other remarks about how the data were made, each a sentence.
    #[serde(default, skip_serializing_if = "is_default")]
    pub notes: Vec<String>,
}

impl Meta {
    /// Reads the `meta.json` of `folder`; `None` if there is none.
    ///
    /// # Errors
    /// [`Kind::Data`] if it cannot be understood; [`Kind::Io`].
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let (path, text) = loop {
            let path = locate(folder, META_FILE);
            match std::fs::read_to_string(&path) {
                Ok(text) => break (path, text),
                // It may have moved since it was located.
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                    if locate(folder, META_FILE) == path {
                        return Ok(None);
                    }
                }
                Err(e) => return Err(Fault::io("read the description of the data", &path, &e)),
            }
        };
        let damaged = |found: String| {
            Fault::new(Kind::Data, "the description of the data cannot be used")
                .at(path.display())
                .found(found)
                .remedy("make the folder again with `normfree prepare --replace`")
        };
        // The version first, because other versions may have other fields.
        #[derive(Deserialize)]
        struct Version {
            format: u32,
        }
        let version: Version = serde_json::from_str(&text).map_err(|e| damaged(of_json(&e)))?;
        if version.format != FORMAT {
            return Err(damaged(format!("format {}, where this program reads {FORMAT}", version.format)));
        }
        let meta: Self = serde_json::from_str(&text).map_err(|e| damaged(of_json(&e)))?;
        if meta.chunk == 0 || meta.vocab_size == 0 {
            return Err(damaged(format!("chunk {} and vocab_size {}", meta.chunk, meta.vocab_size)));
        }
        Ok(Some(meta))
    }
}
