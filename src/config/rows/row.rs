//! The shortest ways to write a row.

use super::super::schema::{Accepts, Changes, Otherwise, Row};
use crate::model::family::Setting;

/// The largest number of steps and of what is counted by them.
pub(super) const U32: u64 = u32::MAX as u64;

pub(super) const fn count(number: i128) -> Otherwise {
    Otherwise::Is(Setting::Integer(number))
}

pub(super) const fn is(number: f64) -> Otherwise {
    Otherwise::Is(Setting::Number(number))
}

pub(super) const fn flag(flag: bool) -> Otherwise {
    Otherwise::Is(Setting::Flag(flag))
}

pub(super) const fn word(word: &'static str) -> Otherwise {
    Otherwise::Is(Setting::Word(word))
}

pub(super) const fn row(
    key: &'static str,
    accepts: Accepts,
    otherwise: Otherwise,
    changes: Changes,
    about: &'static str,
) -> Row {
    Row { key, accepts, otherwise, changes, about }
}
