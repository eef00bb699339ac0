//! A TOML file as text, and the places in it.

use std::path::Path;
use std::rc::Rc;

use toml::Spanned;
use toml::de::DeTable;

use crate::fault::{Fault, Kind, Result};

/// The text of a TOML file and the name that messages give it.
pub(crate) struct Source<'a> {
    pub name: Rc<str>,
    text: &'a str,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str, name: &str) -> Self {
        Self { name: name.into(), text }
    }

    /// The tables of the file.
    ///
    /// # Errors
    /// [`Kind::Config`] if it is not TOML.
    pub fn parse(&self) -> Result<Spanned<DeTable<'a>>> {
        DeTable::parse(self.text).map_err(|error| {
            let line = self.line(error.span().map_or(0, |span| span.start));
            Fault::new(Kind::Config, "this is not TOML")
                .at(format_args!("{} line {line}", self.name))
                .found(error.message())
        })
    }

    /// The line of a byte in the text, counted from 1.
    pub fn line(&self, offset: usize) -> usize {
        1 + self.text.bytes().take(offset).filter(|&byte| byte == b'\n').count()
    }
}

/// Reads a text file.
///
/// # Errors
/// [`Kind::Io`] if it cannot be read, [`Kind::Config`] if it is not UTF-8.
pub(crate) fn read_text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|error| Fault::io("read the configuration", path, &error))?;
    String::from_utf8(bytes).map_err(|error| {
        let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Fault::new(Kind::Config, "this is not UTF-8 text")
            .at(format_args!("{} line {line}", path.display()))
            .remedy("save the file as UTF-8, which TOML requires")
    })
}
