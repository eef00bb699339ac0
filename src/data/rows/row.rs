//! A row of a file with many documents, how a reader gives rows, and what can be wrong with a file of them.

use super::super::entry::Entry;
use super::super::kinds::Format;
use crate::fault::{Fault, Kind, Result};

/// The longest row of a text format, in bytes. It is parsed as a whole, which takes up to four times its length in memory.
pub const LONGEST_ROW: u64 = 64 << 20;

/// One row of a file.
#[derive(Debug)]
pub struct Row {
    /// From 1: the line of JSON lines, else the place among the documents.
    pub number: u64,
    pub document: std::result::Result<String, Without>,
}

/// Why a row has no document.
#[derive(Debug, PartialEq, Eq)]
pub enum Without {
    NotUtf8,
    /// What it is instead.
    Malformed(String),
}

/// Reads the rows of a file in order.
pub trait Rows {
    /// The next row; `None` at the end.
    ///
    /// # Errors
    /// [`Kind::Data`] if the file is damaged or lacks the column; [`Kind::Memory`] for a row that is too long;
    /// [`Kind::Io`].
    fn next(&mut self) -> Result<Option<Row>>;
    /// Bytes read so far, unpacked; of Parquet, those of the documents.
    fn bytes(&self) -> u64;
    /// Bytes of the file read so far.
    fn position(&self) -> u64;
    /// The SHA-256 of what [`Self::bytes`] counts.
    fn digest(&self) -> [u8; 32];
}

/// A file whose bytes are wrong.
pub fn damaged(entry: &Entry, found: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Data, format!("{} is damaged", entry.format.name()))
        .at(entry.path.display())
        .found(found)
        .remedy("make or download it again")
}

/// A file without the column; `found` says what it has.
pub fn without_column(entry: &Entry, found: impl std::fmt::Display) -> Fault {
    Fault::new(Kind::Data, format!("{} has no column of documents", entry.format.name()))
        .at(entry.path.display())
        .found(found)
        .remedy("name the column that holds the text with --column NAME")
}

/// A row longer than [`LONGEST_ROW`].
pub fn too_long(what: &str, entry: &Entry, number: u64) -> Fault {
    Fault::new(Kind::Memory, format!("{what} is too long"))
        .at(format!("{}, {} {number}", entry.path.display(), row_word(entry.format)))
        .found(format!("more than {} MiB", LONGEST_ROW >> 20))
        .remedy("split its document into several, or put it into a text file of its own")
}

/// What a row of this format is called.
pub fn row_word(format: Format) -> &'static str {
    match format {
        Format::JsonLines => "line",
        Format::JsonArray => "element",
        Format::Text | Format::Table(_) | Format::Parquet | Format::Arrow => "row",
    }
}
