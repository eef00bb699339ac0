//! Options that name a picture file.

use crate::draw::picture::Picture;
use crate::fault::{Fault, Result};
use crate::files::{check_folder, folder_of, write_atomic};
use std::io;
use std::path::{Path, PathBuf};

/// A picture file; its extension selects the format.
pub(super) fn picture_file(text: &str) -> std::result::Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    match ends_in(&path, "svg") || ends_in(&path, "png") {
        true => Ok(path),
        false => Err("a picture is an SVG or a PNG: give a file name that ends in .svg or .png"),
    }
}

/// Checks that a picture can be written, before spending minutes on measuring what it shows.
///
/// # Errors
/// [`crate::fault::Kind::Io`].
pub(super) fn check_place(path: &Path) -> Result<()> {
    let refused = |e: &io::Error| Fault::io("write the file", path, e);
    if path.is_dir() {
        return Err(refused(&io::ErrorKind::IsADirectory.into()));
    }
    check_folder(path)?;
    tempfile::tempfile_in(folder_of(path)).map(drop).map_err(|e| refused(&e))
}

/// Writes a picture in the format that the file name selects.
pub(super) fn write_picture(picture: &Picture, path: &Path) -> Result<()> {
    let bytes = match ends_in(path, "png") {
        true => picture.png()?,
        false => picture.svg().into_bytes(),
    };
    write_atomic(path, &bytes)
}

fn ends_in(path: &Path, format: &str) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case(format))
}
