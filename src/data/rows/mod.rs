//! Files with many documents: one reader for each format.

mod arrow;
mod json_array;
mod json_lines;
mod messages;
mod parquet;
mod row;
pub mod table;

use super::entry::Entry;
use super::kinds::Format;
use crate::fault::Result;

pub use json_array::first_element;
pub use row::{Row, Rows, Without, row_word};

/// Opens a file that has rows.
///
/// # Errors
/// As [`Rows::next`].
///
/// # Panics
/// If the format of `entry` is text.
pub fn open(entry: &Entry) -> Result<Box<dyn Rows>> {
    Ok(match entry.format {
        Format::Text => panic!("a text has no rows"),
        Format::JsonLines => Box::new(json_lines::JsonLines::open(entry)?),
        Format::JsonArray => Box::new(json_array::JsonArray::open(entry)?),
        Format::Table(separator) => Box::new(table::Table::open(entry, separator)?),
        Format::Parquet => Box::new(parquet::Parquet::open(entry)?),
        Format::Arrow => Box::new(arrow::Arrow::open(entry)?),
    })
}
