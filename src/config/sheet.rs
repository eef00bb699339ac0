//! What was typed for each key, and where.

use std::rc::Rc;

use toml::de::{DeTable, DeValue};

use super::place::Place;
use super::rows;
use super::schema::{Accepts, Otherwise, Row, TABLES};
use super::source::Source;
use super::unknown;
use super::value::Value;
use super::{Accumulation, Family, FeedForward, Norm};
use crate::fault::{Fault, Kind, Result};

const ACCUMULATION: &str = "train.accumulation";

#[derive(Clone)]
struct Entry {
    key: &'static str,
    value: Value,
    place: Place,
}

/// Values by full key, in file order. Keys are known; values are unchecked until [`Sheet::check`].
#[derive(Clone)]
pub(crate) struct Sheet {
    name: Rc<str>,
    entries: Vec<Entry>,
}

impl Sheet {
    /// Reads TOML text; messages call the file `name`. Fails on bad TOML and on unknown keys.
    pub fn read(text: &str, name: &str) -> Result<Self> {
        let source = Source::new(text, name);
        Self::of_tables(source.parse()?.get_ref(), &source, &[])
    }

    /// The same for tables in a file that holds more than a configuration: keys in `others` are skipped.
    pub fn of_tables(tables: &DeTable, source: &Source, others: &[&str]) -> Result<Self> {
        let place = |offset| Place::Line(source.name.clone(), source.line(offset));
        Self::fill(tables, source.name.clone(), others, &place)
    }

    /// The same for the text of a `Config` made in code, which has no meaningful line numbers.
    pub fn of_code(text: &str) -> Result<Self> {
        let source = Source::new(text, "the configuration");
        Self::fill(source.parse()?.get_ref(), source.name.clone(), &[], &|_| Place::Code)
    }

    /// `place` maps a byte offset in the text to its place.
    fn fill(
        tables: &DeTable,
        name: Rc<str>,
        others: &[&str],
        place: &dyn Fn(usize) -> Place,
    ) -> Result<Self> {
        if others.is_empty() {
            unknown::refuse_other_files(tables, &name)?;
        }
        let mut entries = Vec::new();
        for (table, content) in tables {
            let at = place(table.span().start);
            let table: &str = table.get_ref();
            if others.contains(&table) {
                continue;
            }
            let known = TABLES.contains(&table);
            match content.get_ref() {
                DeValue::Table(_) if !known => return Err(unknown::table(table, &at)),
                DeValue::Table(content) => {
                    for (key, value) in content {
                        let at = place(key.span().start);
                        let key = format!("{table}.{}", key.get_ref());
                        let row = rows::find(&key).ok_or_else(|| unknown::key(&key, &at))?;
                        entries.push(Entry { key: row.key, value: value.get_ref().into(), place: at });
                    }
                }
                value if known => {
                    return Err(Fault::new(Kind::Config, "wrong type")
                        .at(at.of(table))
                        .found(Value::from(value))
                        .remedy(format_args!("[{table}] is a table of keys")));
                }
                _ => return Err(unknown::key(table, &at)),
            }
        }
        Ok(Self { name, entries })
    }

    /// This sheet's values, and those of `below` for all other keys; messages call the result `name`.
    pub fn over(&self, below: &Self, name: &str) -> Self {
        let kept = below.entries.iter().filter(|entry| self.get(entry.key).is_none());
        let entries = kept.chain(&self.entries).cloned().collect();
        Self { name: name.into(), entries }
    }

    /// For a run's configuration written before `train.accumulation` existed: fills in the value that it implied.
    pub fn keep_accumulation(&mut self) {
        let micro_batches = match self.get("train.gradient_accumulation_steps").map(|entry| &entry.value) {
            Some(Value::Integer(count)) => *count,
            _ => 1,
        };
        let value = Value::Text(Accumulation::of_earlier_runs(micro_batches).word().to_owned());
        if self.get(ACCUMULATION).is_none() {
            self.entries.push(Entry { key: ACCUMULATION, value, place: Place::Default });
        }
    }

    /// The sheet's name in messages.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where a key was typed; `None` if it was not.
    pub fn place_of(&self, key: &str) -> Option<String> {
        self.get(key).map(|entry| entry.place.of(key))
    }

    /// The text typed for a key, if there is one.
    pub fn text(&self, key: &str) -> Option<&str> {
        match self.get(key).map(|entry| &entry.value) {
            Some(Value::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The integer typed for a key, if there is one.
    pub fn integer(&self, key: &str) -> Option<i128> {
        match self.get(key).map(|entry| &entry.value) {
            Some(Value::Integer(number)) => Some(*number),
            _ => None,
        }
    }

    /// Fills in a value where none was typed.
    ///
    /// # Panics
    /// If there is no such key.
    pub fn fill_in(&mut self, key: &str, value: Value) {
        let key = rows::find(key).unwrap_or_else(|| panic!("no key {key}")).key;
        if self.get(key).is_none() {
            self.entries.push(Entry { key, value, place: Place::Default });
        }
    }

    /// Forgets what was typed for a key.
    pub fn forget(&mut self, key: &str) {
        self.entries.retain(|entry| entry.key != key);
    }

    /// Applies one `--set`: `key=value`. The value is TOML, or else a bare string; the last one wins.
    pub fn set(&mut self, argument: &str) -> Result<()> {
        let Some((key, typed)) = argument.split_once('=') else {
            return Err(Fault::new(Kind::Config, "--set wants KEY=VALUE")
                .found(format_args!("`{argument}`"))
                .remedy("write it as in --set model.n_layer=3"));
        };
        let (key, typed) = (key.trim(), typed.trim());
        let row = rows::find(key).ok_or_else(|| unknown::key(key, &Place::Set))?;
        let value = match (Value::read(typed), &row.accepts) {
            // A folder may be called 2024 or true.
            (Some(value), Accepts::Text) if !matches!(value, Value::Text(_)) => Value::Text(typed.to_owned()),
            (Some(value), _) => value,
            (None, _) => Value::Text(typed.to_owned()),
        };
        self.entries.retain(|entry| entry.key != key);
        self.entries.push(Entry { key: row.key, value, place: Place::Set });
        Ok(())
    }

    /// Checks each value on its own, and fills in the defaults.
    pub fn check(&mut self) -> Result<()> {
        for Entry { key, value, place } in &self.entries {
            let Some(Row { accepts, .. }) = rows::find(key) else { continue };
            accepts.check(value).map_err(|what| {
                let near = match (accepts, value) {
                    (Accepts::Words(words) | Accepts::FlagOrWord(words), Value::Text(word)) => {
                        unknown::nearest(word, words.iter().map(|word| word.word))
                    }
                    _ => None,
                };
                let near = near.map(|word| format!("did you mean \"{word}\"? ")).unwrap_or_default();
                Fault::new(Kind::Config, what)
                    .at(place.of(key))
                    .found(value)
                    .remedy(format_args!("{near}use {}", accepts.expected()))
            })?;
        }
        let family = match self.get("model.family").map(|entry| &entry.value) {
            Some(Value::Text(word)) => Family::find(word),
            _ => None,
        };
        let family = family.unwrap_or(Family::GPT2);
        let default = |row: &Row| family.default_of(row.key).map_or(row.otherwise, Otherwise::Is);
        let is_missing = |row: &&Row| {
            matches!(default(row), Otherwise::Required | Otherwise::OfData(_)) && self.get(row.key).is_none()
        };
        let missing: Vec<String> = rows::all()
            .filter(is_missing)
            .map(|row| format!("{} ({})", row.key, row.accepts.expected()))
            .collect();
        if !missing.is_empty() {
            return Err(Fault::new(Kind::Config, "required keys are missing")
                .at(&self.name)
                .remedy(format_args!("add {}", missing.join(", "))));
        }
        for row in rows::all() {
            let value = match default(row) {
                _ if self.get(row.key).is_some() => continue,
                Otherwise::Required | Otherwise::Absent | Otherwise::OfData(_) => continue,
                Otherwise::Is(setting) => Value::from(setting),
                Otherwise::Times(factor, of) => match self.get(of).map(|entry| &entry.value) {
                    Some(&Value::Integer(number)) if row.key == "model.n_inner" => {
                        Value::Integer(self.network().map_or(factor * number, |network| {
                            (network.inner)(usize::try_from(number).unwrap_or(0)) as i128
                        }))
                    }
                    Some(Value::Integer(number)) => Value::Integer(factor * number),
                    _ => continue,
                },
                Otherwise::Part(parts, of) => match self.get(of).map(|entry| &entry.value) {
                    // At least one, because the other key is.
                    Some(Value::Integer(number)) => {
                        Value::Integer((number + i128::from(parts) - 1) / i128::from(parts))
                    }
                    _ => continue,
                },
                Otherwise::OfNorm(number) => match self.get("model.norm").map(|entry| &entry.value) {
                    Some(Value::Text(word)) => match Norm::find(word) {
                        Some(norm) => Value::Float(number(&norm)),
                        None => continue,
                    },
                    _ => continue,
                },
            };
            self.entries.push(Entry { key: row.key, value, place: Place::Default });
        }
        Ok(())
    }

    /// The feed-forward network that was typed.
    fn network(&self) -> Option<FeedForward> {
        match self.get("model.ffn").map(|entry| &entry.value) {
            Some(Value::Text(word)) => FeedForward::find(word),
            _ => None,
        }
    }

    fn get(&self, key: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.key == key)
    }

    /// The places of these keys, for a message about a conflict between them.
    pub fn places(&self, keys: &[&str]) -> String {
        let place =
            |key: &&str| self.get(key).map_or_else(|| format!("key {key}"), |entry| entry.place.of(key));
        keys.iter().map(place).collect::<Vec<_>>().join(" and ")
    }

    /// The values by table and name, to deserialize from.
    pub fn to_json(&self) -> serde_json::Value {
        let mut root = serde_json::Map::new();
        for table in TABLES {
            let content = self.entries.iter().filter_map(|entry| {
                let name = entry.key.strip_prefix(table)?.strip_prefix('.')?;
                Some((name.to_owned(), entry.value.to_json()))
            });
            root.insert(table.to_owned(), serde_json::Value::Object(content.collect()));
        }
        root.into()
    }
}
