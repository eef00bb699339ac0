//! Tables of parts that a model can be made of. A row has a word, by which a configuration picks it, and all that the
//! program knows of the part.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// A row of a table of parts.
pub trait Part: Sized + 'static {
    /// The table, in the order in which messages name its rows.
    const ALL: &'static [Self];
    /// The word of each row.
    const WORDS: &'static [&'static str];

    fn word(&self) -> &'static str;
}

/// The words of a table's rows.
macro_rules! words {
    ($table:expr) => {{
        const WORDS: [&str; $table.len()] = {
            let mut words = [""; $table.len()];
            let mut at = 0;
            while at < words.len() {
                words[at] = $table[at].word;
                at += 1;
            }
            words
        };
        &WORDS
    }};
}
pub(super) use words;

/// The row that a configuration picks.
pub struct Pick<P: Part>(&'static P);

impl<P: Part> Pick<P> {
    /// Every word that picks one.
    pub const WORDS: &'static [&'static str] = P::WORDS;

    /// The row at a place of the table.
    pub(super) const fn at(place: usize) -> Self {
        Self(&P::ALL[place])
    }

    /// The row of that word.
    pub fn find(word: &str) -> Option<Self> {
        P::ALL.iter().find(|row| row.word() == word).map(Self)
    }

    /// Every row.
    pub fn all() -> impl Iterator<Item = Self> {
        P::ALL.iter().map(Self)
    }
}

impl<P: Part> Clone for Pick<P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<P: Part> Copy for Pick<P> {}

impl<P: Part> Deref for Pick<P> {
    type Target = P;

    fn deref(&self) -> &P {
        self.0
    }
}

impl<P: Part> PartialEq for Pick<P> {
    fn eq(&self, other: &Self) -> bool {
        self.word() == other.word()
    }
}

impl<P: Part> Eq for Pick<P> {}

impl<P: Part> fmt::Display for Pick<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl<P: Part> fmt::Debug for Pick<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl<P: Part> Serialize for Pick<P> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.word())
    }
}

impl<'de, P: Part> Deserialize<'de> for Pick<P> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        Self::find(&word).ok_or_else(|| serde::de::Error::unknown_variant(&word, P::WORDS))
    }
}
