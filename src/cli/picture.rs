//! Options that name a file for a picture.

use crate::fault::Result;
use crate::files::write_atomic;
use crate::report::picture::Picture;
use std::path::{Path, PathBuf};

/// A file for a picture, whose name tells the format.
pub(super) fn picture_file(text: &str) -> std::result::Result<PathBuf, &'static str> {
    let path = PathBuf::from(text);
    match ends_in(&path, "svg") || ends_in(&path, "png") {
        true => Ok(path),
        false => Err("a picture is an SVG or a PNG: name a file that ends in .svg or .png"),
    }
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
