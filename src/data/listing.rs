//! The list of a corpus's files, and how the files of a folder enter it.

use std::path::{Path, PathBuf};

use super::meta::LeftOut;
use super::walk::{Passing, walk};
use crate::fault::{Fault, Result};

/// How a file stores text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The file is one document.
    Text,
    /// Each line is a JSON object whose `text` or `content` is one document.
    JsonLines,
}

/// One file to read.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: PathBuf,
    /// The path below its source, with `/` on every system; it determines the order and the split.
    pub relative: String,
    pub format: Format,
    /// The number of bytes to read.
    pub bytes: u64,
    /// Whether `bytes` omits the end of the file, because of the cap.
    pub cut: bool,
    /// Whether a zero byte means that the file is not text.
    pub refuse_binary: bool,
}

/// The files of a corpus, ordered by relative path.
#[derive(Debug, Default)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// One line per source.
    pub description: Vec<String>,
    pub left_out: LeftOut,
}

/// Which files of a folder to take.
pub struct Filter<'a> {
    /// Lower-case, without a dot; empty: every file that is text.
    pub extensions: &'a [String],
    /// Larger files are skipped.
    pub largest_file: u64,
}

/// Adds the files below `folder` that pass `filter`, named relative to `base`.
pub fn add_folder(
    folder: &Path,
    base: &Path,
    filter: &Filter,
    passing: Passing,
    listing: &mut Listing,
) -> Result<()> {
    for found in walk(folder, passing, &mut listing.left_out)? {
        let extension = found.path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        let is_wanted = filter.extensions.is_empty() || filter.extensions.contains(&extension);
        if is_wanted && !found.is_link {
            let entry = entry(&found.path, base, filter.extensions.is_empty())?;
            if entry.bytes <= filter.largest_file {
                listing.entries.push(entry);
            }
        }
    }
    Ok(())
}

/// A path with `/` on every system.
pub fn slashed(path: &Path) -> String {
    let parts: Vec<_> = path.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    parts.join("/")
}

/// The entry of one file, named relative to `base`.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io) if the system does not report its size.
pub fn entry(path: &Path, base: &Path, refuse_binary: bool) -> Result<Entry> {
    let bytes = std::fs::metadata(path).map_err(|e| Fault::io("read the text", path, &e))?.len();
    let below = path.strip_prefix(base).unwrap_or(path);
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match extension.as_str() {
        "jsonl" | "ndjson" => Format::JsonLines,
        _ => Format::Text,
    };
    let relative = slashed(below);
    Ok(Entry { path: path.to_path_buf(), relative, format, bytes, cut: false, refuse_binary })
}
