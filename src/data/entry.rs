//! One file to read.

use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use super::columns::Columns;
use super::kinds::{Format, Packing};

/// Where the bytes of a source are.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the file of the entry's path.
    Path,
    /// In a file without a name, to which a pipe was copied.
    Copy(Arc<File>),
}

/// One file to read.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The file, or what a pipe is called.
    pub path: PathBuf,
    pub place: Place,
    /// The path below its source, with `/` on every system; it determines the order.
    pub relative: String,
    /// `relative` without what says how rows are stored; it determines the split.
    pub name: String,
    pub packing: Packing,
    pub format: Format,
    pub columns: Columns,
    /// The size of the file in bytes.
    pub bytes: u64,
    /// The number of bytes to read: unpacked ones, and of Parquet those of the documents.
    pub limit: u64,
    /// Whether `limit` omits the end of the file, because of the cap.
    pub cut: bool,
    /// Whether a zero byte means that the file is not text.
    pub refuse_binary: bool,
}

impl Entry {
    /// Whether the size of the file is not that of its text.
    pub fn is_packed(&self) -> bool {
        self.packing != Packing::None || self.format == Format::Parquet
    }
}
