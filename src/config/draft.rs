//! A configuration before its defaults are filled in: what was typed, and what the data say.

use std::path::Path;

use super::Config;
use super::presets::Preset;
use super::sheet::Sheet;
use super::source::read_text;
use super::value::Value;
use crate::fault::Result;

const PATH: &str = "data.path";
const VOCABULARY: &str = "model.vocab_size";
const POSITIONS: &str = "model.n_positions";

/// A configuration before its defaults.
#[derive(Clone)]
pub struct Draft {
    sheet: Sheet,
    /// The vocabulary of a preset, which is that of its own data.
    vocabulary: Option<i128>,
}

impl Draft {
    /// A TOML file.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io) if it cannot be read; [`Kind::Config`](crate::fault::Kind::Config) if it is not
    /// TOML, or has keys that there are not.
    pub fn load(path: &Path) -> Result<Self> {
        Ok(Self::of(Sheet::read(&read_text(path)?, &path.display().to_string())?))
    }

    /// A preset. Its vocabulary counts only where the data do not say theirs.
    ///
    /// # Errors
    /// None of a preset that the program has.
    pub fn preset(preset: &Preset) -> Result<Self> {
        let mut sheet = Sheet::read(preset.text, &format!("the preset {}", preset.name))?;
        let vocabulary = sheet.integer(VOCABULARY);
        sheet.forget(VOCABULARY);
        Ok(Self { sheet, vocabulary })
    }

    /// What was typed elsewhere.
    pub(crate) fn of(sheet: Sheet) -> Self {
        Self { sheet, vocabulary: None }
    }

    /// Nothing but defaults.
    pub fn empty() -> Self {
        Self::of(Sheet::read("", "the command line").expect("an empty text is TOML"))
    }

    /// Applies one `--set`: `key=value`.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::fault::Kind::Config) if there is no such key.
    pub fn set(&mut self, argument: &str) -> Result<()> {
        self.sheet.set(argument)
    }

    /// Names the data, in place of what was typed.
    pub fn use_data(&mut self, path: &Path) {
        self.sheet.forget(PATH);
        self.sheet.fill_in(PATH, Value::Text(path.display().to_string()));
    }

    /// The data that were named.
    pub fn data(&self) -> Option<&str> {
        self.sheet.text(PATH)
    }

    /// Whether both sizes that the data would say were typed.
    pub fn has_sizes(&self) -> bool {
        [VOCABULARY, POSITIONS].iter().all(|key| self.sheet.place_of(key).is_some())
    }

    /// Takes from the data what was not typed: their vocabulary, and as positions the length of a chunk.
    pub fn follow(&mut self, vocab_size: usize, chunk: usize) {
        self.sheet.fill_in(VOCABULARY, Value::Integer(vocab_size as i128));
        self.sheet.fill_in(POSITIONS, Value::Integer(chunk as i128));
    }

    /// The sizes to prepare text with: the vocabulary and the longest sequence, if they were typed.
    pub fn sizes(&self) -> (Option<usize>, Option<usize>) {
        let size = |number: i128| usize::try_from(number).ok();
        let typed = |key| self.sheet.integer(key).and_then(size);
        let vocabulary = typed(VOCABULARY).or_else(|| self.vocabulary.and_then(size));
        (vocabulary, typed("train.sequence_length").or_else(|| typed(POSITIONS)))
    }

    /// The configuration, with defaults filled in and checked.
    ///
    /// # Errors
    /// As [`Config::parse`].
    pub fn complete(mut self) -> Result<Config> {
        if let Some(vocabulary) = self.vocabulary {
            self.sheet.fill_in(VOCABULARY, Value::Integer(vocabulary));
        }
        Config::complete(self.sheet)
    }
}
