//! The tables of keys that `normfree keys` prints and docs/configuration.md shows.

use super::rows::{self, of_table};
use super::schema::{Accepts, Changes, Otherwise, Row, TABLES};
use super::{Family, Norm};
use crate::model::family::Setting;
use crate::ops::norms::Normalization;
use crate::words::Word;

/// All keys as Markdown, with one table for each table of the file.
pub fn keys() -> String {
    TABLES.map(table).join("\n")
}

/// The keys of a table, without its name.
pub fn keys_of(table: &str) -> impl Iterator<Item = &'static str> {
    of_table(table).map(|(key, _)| key)
}

/// The full names of keys that may change when a run is resumed.
pub fn free_on_resume() -> Vec<&'static str> {
    rows::all().filter(|row| row.changes.on_resume()).map(|row| row.key).collect()
}

/// The full names of keys that may differ between runs of one configuration.
pub fn free_in_comparison() -> Vec<&'static str> {
    rows::all().filter(|row| row.changes.in_comparison()).map(|row| row.key).collect()
}

fn table(table: &str) -> String {
    let mut text = format!("| `[{table}]` | default | may change | |\n| --- | --- | --- | --- |\n");
    for (name, row) in of_table(table) {
        let (default, changes, about) = (defaults(row), changes(row.changes), about(row));
        text.push_str(&format!("| `{name}` | {default} | {changes} | {about} |\n"));
    }
    text
}

/// The default, and those of families that have their own.
fn defaults(row: &Row) -> String {
    let own = Family::all().filter_map(|family| Some((family, family.default_of(row.key)?)));
    let own = own.map(|(family, setting)| format!("in `{family}` {}", value(setting)));
    [default(row.otherwise)]
        .into_iter()
        .filter(|text| !text.is_empty())
        .chain(own)
        .collect::<Vec<_>>()
        .join(", ")
}

fn default(otherwise: Otherwise) -> String {
    let short = |key: &str| key.rsplit('.').next().unwrap_or(key).to_owned();
    match otherwise {
        Otherwise::Required => "required".to_owned(),
        Otherwise::Absent => String::new(),
        Otherwise::Is(setting) => value(setting),
        Otherwise::Times(1, of) => format!("`{}`", short(of)),
        Otherwise::Times(factor, of) => format!("{factor}·`{}`", short(of)),
        Otherwise::OfData(what) => format!("the data's {what}"),
        Otherwise::Part(parts, of) => format!("`{}`/{parts}", short(of)),
        Otherwise::OfNorm(number) => of_norms(number),
    }
}

/// A number that follows from the norm: that of most, and the norms with another.
fn of_norms(number: fn(&Normalization) -> f64) -> String {
    let usual = number(&Norm::NONE);
    let others = Norm::all().filter(|norm| number(norm) != usual);
    let others = others.map(|norm| format!("with `{norm}` {}", value(Setting::Number(number(&norm)))));
    std::iter::once(value(Setting::Number(usual))).chain(others).collect::<Vec<_>>().join(", ")
}

/// A value as TOML writes it.
fn value(setting: Setting) -> String {
    match setting {
        Setting::Integer(number) => format!("`{number}`"),
        Setting::Number(number) => format!("`{number:?}`"),
        Setting::Flag(flag) => format!("`{flag}`"),
        Setting::Word(word) => format!("`\"{word}\"`"),
    }
}

fn changes(changes: Changes) -> &'static str {
    match changes {
        Changes::Never => "",
        Changes::OnResume => "on resume",
        Changes::InComparison => "in a comparison",
        Changes::Freely => "on resume, in a comparison",
    }
}

fn about(row: &Row) -> String {
    let (about, words) = about_words(row);
    if words.is_empty() { about } else { format!("{about}. {}", words.join("; ")) }
}

/// What a key does, and what each of its words means.
pub(super) fn about_words(row: &Row) -> (String, Vec<String>) {
    let words: &[Word] = if let Accepts::Words(words) = row.accepts { words } else { &[] };
    let words = words.iter().map(|word| format!("`\"{}\"`: {}", word.word, word.about.trim()));
    (row.about.to_owned(), words.collect())
}

/// The default as a file has it, or else a phrase about it.
pub(super) fn default_in_file(row: &Row) -> Result<String, String> {
    match row.otherwise {
        Otherwise::Is(setting) => Ok(value(setting).trim_matches('`').to_owned()),
        Otherwise::Required => Err("required".to_owned()),
        Otherwise::Absent => Err("unset".to_owned()),
        Otherwise::OfData(_) | Otherwise::Times(..) | Otherwise::Part(..) | Otherwise::OfNorm(_) => {
            Err(default(row.otherwise).replace('`', ""))
        }
    }
}
