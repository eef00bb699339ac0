//! Words with which a configuration selects something: a row of a table of parts ([`Part`], [`Pick`]), or a variant of an
//! enum (`choice!`). Each word has one line of documentation beside it, which `normfree keys` prints.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::ops::Deref;

/// A word that a key accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word {
    pub word: &'static str,
    /// Its meaning, in one line of Markdown.
    pub about: &'static str,
}

/// A row of a table of parts. A row holds all the program knows about the part.
pub trait Part: Sized + 'static {
    /// The table, in the order in which messages name its rows.
    const ALL: &'static [Self];
    /// The word of each row.
    const WORDS: &'static [Word];

    fn word(&self) -> &'static str;
}

/// Implements [`Part`] for a table's rows with their fields `word` and `about`.
macro_rules! table {
    ($row:ty, $table:expr) => {
        impl $crate::words::Part for $row {
            const ALL: &'static [Self] = $table;
            const WORDS: &'static [$crate::words::Word] = {
                const NONE: $crate::words::Word = $crate::words::Word { word: "", about: "" };
                const WORDS: [$crate::words::Word; $table.len()] = {
                    let mut words = [NONE; $table.len()];
                    let mut at = 0;
                    while at < words.len() {
                        words[at] = $crate::words::Word { word: $table[at].word, about: $table[at].about };
                        at += 1;
                    }
                    words
                };
                &WORDS
            };

            fn word(&self) -> &'static str {
                self.word
            }
        }
    };
}
pub(crate) use table;

/// The row that a configuration selects.
pub struct Pick<P: Part>(&'static P);

impl<P: Part> Pick<P> {
    /// Every word that selects a row.
    pub const WORDS: &'static [Word] = P::WORDS;

    /// The row at an index of the table.
    pub(crate) const fn at(place: usize) -> Self {
        Self(&P::ALL[place])
    }

    /// The row with that word.
    pub fn find(word: &str) -> Option<Self> {
        P::ALL.iter().find(|row| row.word() == word).map(Self)
    }

    /// The row itself.
    pub(crate) fn row(self) -> &'static P {
        self.0
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
        Self::find(&word).ok_or_else(|| serde::de::Error::custom(format_args!("unknown word \"{word}\"")))
    }
}

/// Declares a public enum whose variants are words in TOML. A variant's documentation is also its word's documentation:
/// keep it short enough for a table cell.
macro_rules! choice {
    ($(#[$meta:meta])* $name:ident {
        $($(#[doc = $doc:literal])* $variant:ident = $word:literal),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
        pub enum $name {
            $($(#[doc = $doc])* #[serde(rename = $word)] $variant),+
        }

        impl $name {
            /// Every word that this key accepts, in the order of the variants.
            pub const WORDS: &'static [$crate::words::Word] =
                &[$($crate::words::Word { word: $word, about: concat!($($doc),*) }),+];

            /// Every value, in the order of the words.
            #[allow(dead_code)]
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word that stands for this value in TOML.
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word),+
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.word())
            }
        }
    };
}
pub(crate) use choice;
