//! Text to start from.

use crate::fault::{Fault, Kind, Result};
use std::io::{self, Read};
use std::path::Path;

/// The text that is typed, or that a file has; `-` is standard input. `None` if neither is given.
///
/// # Errors
/// [`Kind::Io`] if the file cannot be read, [`Kind::Data`] if it is not UTF-8.
pub(super) fn prompt(typed: Option<&str>, file: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = file else { return Ok(typed.map(str::to_owned)) };
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        _ => std::fs::read(path).map(|content| bytes = content),
    };
    read.map_err(|e| Fault::io("read the prompt", path, &e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Fault::new(Kind::Data, "the prompt is not UTF-8").at(path.display()).found(e.utf8_error())
    })?;
    Ok(Some(text))
}
