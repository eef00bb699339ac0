//! The list of a corpus's files, and how the files of a folder enter it.

use std::path::Path;

use super::columns::Columns;
use super::entry::{Entry, Place};
use super::json_line;
use super::kinds::{self, Foreign, Format, HEAD, Inside, Packing};
use super::meta::LeftOut;
use super::rows::{first_element, table};
use super::stream;
use super::walk::{Passing, walk};
use crate::fault::{Fault, Result};

/// The files of a corpus, ordered by relative path.
#[derive(Debug, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// One line per source.
    pub description: Vec<String>,
    pub left_out: LeftOut,
    /// Remarks on what was chosen, each a sentence.
    pub notes: Vec<String>,
}

/// Which files of a folder to take.
pub struct Filter<'a> {
    /// Lower-case, without a dot; empty: every file that is text.
    pub extensions: &'a [String],
    /// Larger files are skipped.
    pub largest_file: u64,
    /// What holds the documents of files with rows.
    pub columns: &'a Columns,
    /// Whether links to files are followed.
    pub links: bool,
}

/// A file that was looked at.
#[derive(Debug)]
pub struct Looked {
    pub entry: Entry,
    /// What it is, if it is not read.
    pub foreign: Option<Foreign>,
    /// Whether its first row has the column.
    pub has_column: bool,
}

impl Looked {
    /// The file as one of a collection of texts, where a JSON file or a table without the column is a text as well.
    pub fn into_entry(self) -> Entry {
        let Self { mut entry, has_column, .. } = self;
        if !has_column {
            (entry.format, entry.name) = (Format::Text, entry.relative.clone());
        }
        entry
    }
}

/// Looks at the files below `folder` that pass `filter`, named relative to `base`.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io); [`Kind::Data`](crate::fault::Kind::Data) for a damaged packing.
pub fn look_through(
    folder: &Path,
    base: &Path,
    filter: &Filter,
    passing: Passing,
    left_out: &mut LeftOut,
) -> Result<Vec<Looked>> {
    let mut looked = Vec::new();
    for found in walk(folder, passing, left_out)? {
        if !is_wanted(&found.path, filter.extensions) || (found.is_link && !filter.links) {
            continue;
        }
        let one = look(&found.path, base, filter.extensions.is_empty(), filter.columns)?;
        if one.entry.bytes <= filter.largest_file {
            looked.push(one);
        }
    }
    Ok(looked)
}

/// Whether a name ends in one of the extensions, with or without that of a packing behind it.
fn is_wanted(path: &Path, extensions: &[String]) -> bool {
    if extensions.is_empty() {
        return true;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let wanted: Vec<&str> = extensions.iter().map(String::as_str).collect();
    let unpacked = kinds::bare(&name, Packing::Gzip, Format::Text);
    kinds::ends(&name, &wanted) || kinds::ends(unpacked, &wanted)
}

/// A path with `/` on every system.
pub fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// Looks at one file, named relative to `base`.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io); [`Kind::Data`](crate::fault::Kind::Data) for a damaged packing.
pub fn look(path: &Path, base: &Path, refuse_binary: bool, columns: &Columns) -> Result<Looked> {
    let bytes = std::fs::metadata(path).map_err(|e| Fault::io("read the text", path, &e))?.len();
    let below = path.strip_prefix(base).unwrap_or(path);
    look_at(path, Place::Path, slashed(below), true, bytes, refuse_binary, columns)
}

/// Looks at a file or a copied pipe, called `relative`; `is_named` says whether the name is the file's own.
///
/// # Errors
/// As [`look`].
pub fn look_at(
    path: &Path,
    place: Place,
    relative: String,
    is_named: bool,
    bytes: u64,
    refuse_binary: bool,
    columns: &Columns,
) -> Result<Looked> {
    let (head, packing) = stream::head(&place, path, HEAD)?;
    let unpacked = kinds::bare(&relative, packing, Format::Text);
    let has_document = |line: &str| json_line::document(line, columns).is_ok();
    let is_file = is_named;
    let is_named = is_file && kinds::tells(unpacked);
    let (format, foreign) = match kinds::inside(&head, is_named.then_some(unpacked), has_document) {
        Inside::Format(Format::Parquet) if packing != Packing::None => {
            let remedy = Some("unpack it: Parquet is packed inside");
            (Format::Text, Some(Foreign { name: "a packed Parquet file", remedy, is_data: true }))
        }
        Inside::Format(format) => (format, None),
        Inside::Foreign(foreign) => (Format::Text, Some(foreign)),
    };
    // A file whose name says nothing may be a text of any kind.
    let format = match format {
        Format::JsonArray if is_file && !is_named && !first_element(&head).is_none_or(has_document) => {
            Format::Text
        }
        format => format,
    };
    // Data without a name are a table if the user names a column that their first line has.
    let format = match format {
        Format::Text if !is_named && columns.is_named() && foreign.is_none() => {
            let separator = kinds::separator(&head);
            let has_it = columns.place(&table::header(&head, separator)).is_some();
            if has_it { Format::Table(separator) } else { format }
        }
        _ => format,
    };
    let has_column = match format {
        Format::JsonLines if is_named && kinds::ends(unpacked, &["json"]) => {
            let line = head.split_inclusive(|&byte| byte == b'\n').next().unwrap_or_default();
            let is_whole = line.ends_with(b"\n") || head.len() < HEAD;
            !is_whole || std::str::from_utf8(line).is_ok_and(has_document)
        }
        Format::JsonArray => first_element(&head).is_none_or(has_document),
        Format::Table(separator) => columns.place(&table::header(&head, separator)).is_some(),
        _ => true,
    };
    let limit = if packing == Packing::None && format != Format::Parquet { bytes } else { u64::MAX };
    let name = kinds::bare(&relative, packing, format).to_owned();
    let entry = Entry {
        path: path.to_path_buf(),
        place,
        relative,
        name,
        packing,
        format,
        columns: columns.clone(),
        bytes,
        limit,
        cut: false,
        refuse_binary,
    };
    Ok(Looked { entry, foreign, has_column })
}
