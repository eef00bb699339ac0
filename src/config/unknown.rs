//! Unknown keys, and the key that was probably meant.

use super::place::Place;
use super::rows::{self, of_table};
use super::schema::TABLES;
use crate::fault::{Fault, Kind, Result};
use toml::de::DeTable;

/// Below this similarity a suggestion would mislead.
const LEAST_LIKENESS: f64 = 0.5;

/// The similarity of two names, from 0 to 1. A part of a name, or its initials, count as an abbreviation of it.
fn likeness(typed: &str, name: &str) -> f64 {
    let typed = typed.to_lowercase().replace('-', "_");
    let edits = strsim::normalized_damerau_levenshtein(&typed, name);
    let part = typed.len() >= 3 && (name.contains(&typed) || typed.contains(name));
    let initials =
        typed.len() >= 2 && name.split('_').filter_map(|word| word.chars().next()).eq(typed.chars());
    if part || initials { edits.max(0.6) } else { edits }
}

/// The candidate most similar to `typed`, if any is similar enough; the first one on a tie.
pub(crate) fn nearest<'a>(typed: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    best(candidates.map(|name| (likeness(typed, name), name)))
}

fn best<'a>(scored: impl Iterator<Item = (f64, &'a str)>) -> Option<&'a str> {
    let better = |a: (f64, &'a str), b: (f64, &'a str)| if b.0 > a.0 { b } else { a };
    scored.filter(|(score, _)| *score >= LEAST_LIKENESS).reduce(better).map(|(_, name)| name)
}

/// The full key that `typed` probably meant; it may have been typed in the wrong table or in none.
pub(crate) fn nearest_key(typed: &str) -> Option<&'static str> {
    let (table, name) = typed.split_once('.').unwrap_or(("", typed));
    best(rows::all().map(|row| {
        let (row_table, row_name) = row.key.split_once('.').unwrap_or(("", row.key));
        // Between two equally similar names, the one in the typed table wins; an exact name in another table still wins.
        let nearness = 0.1 * strsim::normalized_damerau_levenshtein(table, row_table);
        (likeness(name, row_name) + nearness, row.key)
    }))
}

/// The error for an unknown key.
pub(super) fn key(typed: &str, place: &Place) -> Fault {
    let table = typed.split_once('.').map_or("", |(table, _)| table);
    let there = if TABLES.contains(&table) {
        format!("[{table}] takes {}", of_table(table).map(|(name, _)| name).collect::<Vec<_>>().join(", "))
    } else {
        tables()
    };
    let near = nearest_key(typed).map(|key| format!("did you mean {key}? ")).unwrap_or_default();
    Fault::new(Kind::Config, "unknown key").at(place.of(typed)).remedy(near + &there)
}

/// Refuses files of other commands by the table that each of them has.
///
/// # Errors
/// [`Kind::Config`], with the command for such a file.
pub(super) fn refuse_other_files(tables: &DeTable, name: &str) -> Result<()> {
    let kinds = [
        ("study", "a study", "normfree study"),
        ("claim", "a claim", "normfree study` or `normfree referee"),
    ];
    match kinds.into_iter().find(|(table, _, _)| tables.contains_key(*table)) {
        None => Ok(()),
        Some((table, what, command)) => {
            Err(Fault::new(Kind::Config, format!("{what} is not the configuration of one run"))
                .at(name)
                .found(format!("the table [{table}]"))
                .remedy(format!("give it to `{command}`")))
        }
    }
}

/// The error for an unknown table.
pub(super) fn table(typed: &str, place: &Place) -> Fault {
    let near = nearest(typed, TABLES.into_iter());
    let near = near.map(|table| format!("did you mean [{table}]? ")).unwrap_or_default();
    Fault::new(Kind::Config, "unknown table")
        .at(place)
        .found(format_args!("[{typed}]"))
        .remedy(near + &tables())
}

fn tables() -> String {
    let tables: Vec<String> = TABLES.iter().map(|table| format!("[{table}]")).collect();
    format!("keys belong in the tables {}", tables.join(", "))
}
