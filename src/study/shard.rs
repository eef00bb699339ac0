//! A share of a study's runs, for one machine or one job of an array.

use std::fmt;
use std::str::FromStr;

/// Part `index` of `count`, counted from 1, as in `--shard 2/4`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// All runs.
    pub const WHOLE: Self = Self { index: 1, count: 1 };

    /// Whether the run at `place`, counted from 0, belongs to it. Runs are dealt out in turn, so that each shard gets
    /// some of every kind.
    pub fn holds(self, place: usize) -> bool {
        place % self.count + 1 == self.index
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts =
            text.split_once('/').and_then(|(index, count)| Some((index.parse().ok()?, count.parse().ok()?)));
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            _ => Err("a shard is I/N: the first of four is 1/4, the last 4/4".to_owned()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}
