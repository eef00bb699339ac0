//! Options that name a file for a picture.

use crate::draw::picture::Picture;
use crate::fault::{Fault, Result};
use crate::files::{folder_of, write_atomic};
use std::io;
use std::path::{Path, PathBuf};

/// A file for a picture, whose name tells the format.
pub(super) fn picture_file(text: &str) -> std::result::Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    match ends_in(&path, "svg") || ends_in(&path, "png") {
        true => Ok(path),
        false => Err("a picture is an SVG or a PNG: name a file that ends in .svg or .png"),
    }
}

/// Whether a picture can be written there: asked before what it shows is measured, which takes minutes.
///
/// # Errors
/// [`crate::fault::Kind::Io`].
pub(super) fn check_place(path: &Path) -> Result<()> {
    let refused = |e: &io::Error| Fault::io("write the file", path, e);
    if path.is_dir() {
        return Err(refused(&io::ErrorKind::IsADirectory.into()));
    }
    tempfile::tempfile_in(folder_of(path)).map(drop).map_err(|e| refused(&e))
}

/// Writes a picture in the format that the file's name asks for.
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
