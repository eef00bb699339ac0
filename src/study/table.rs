//! One table of a study file, read key by key, with messages that give file, line and key.

use std::borrow::Cow;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::config::{Source, TABLES, Value, nearest, nearest_key};
use crate::fault::{Fault, Kind, Result};

/// One of the study's own tables: `[study]`, a `[[size]]`, or a `[[configuration]]`.
pub(super) struct Table<'a> {
    pub content: &'a DeTable<'a>,
    source: &'a Source<'a>,
    /// Its heading in the file: `[study]`.
    heading: &'static str,
    /// The line where it begins.
    line: usize,
}

impl<'a> Table<'a> {
    /// Reads `value` as the table `heading`.
    pub fn new(
        value: &'a Spanned<DeValue<'a>>,
        source: &'a Source<'a>,
        heading: &'static str,
    ) -> Result<Self> {
        let line = source.line(value.span().start);
        match value.get_ref() {
            DeValue::Table(content) => Ok(Self { content, source, heading, line }),
            other => Err(Fault::new(Kind::Config, "wrong type")
                .at(format_args!("{} line {line}", source.name))
                .found(Value::from(other))
                .remedy(format_args!("{heading} is a table of keys"))),
        }
    }

    /// Refuses keys other than `own` and, if `tables`, the tables of a configuration.
    pub fn check_keys(&self, own: &[&str], tables: bool) -> Result<()> {
        let known: Vec<&str> = own.iter().copied().chain(TABLES.into_iter().filter(|_| tables)).collect();
        for key in self.content.keys() {
            let typed: &str = key.get_ref();
            if known.contains(&typed) {
                continue;
            }
            let near =
                nearest(typed, known.iter().copied()).or_else(|| nearest_key(typed).filter(|_| tables));
            let near = near.map(|key| format!("did you mean {key}? ")).unwrap_or_default();
            let rest = if tables {
                ", and keys of a configuration with their table, as in model.norm = \"none\""
            } else {
                ""
            };
            return Err(Fault::new(Kind::Config, "unknown key").at(self.place(key)).remedy(format_args!(
                "{near}{} takes {}{rest}",
                self.heading,
                own.join(", ")
            )));
        }
        Ok(())
    }

    /// A non-empty text; `None` if the key is missing.
    pub fn text(&self, key: &str) -> Result<Option<String>> {
        let Some((at, value)) = self.content.get_key_value(key) else { return Ok(None) };
        match value.get_ref() {
            DeValue::String(text) if !text.trim().is_empty() => Ok(Some(text.to_string())),
            other => Err(self.refuse(at, other, "a non-empty string")),
        }
    }

    /// The same for a required key.
    pub fn required_text(&self, key: &str) -> Result<String> {
        self.text(key)?.ok_or_else(|| {
            Fault::new(Kind::Config, format!("the key {key} is missing"))
                .at(format_args!("{} line {}", self.source.name, self.line))
                .remedy(format_args!("{} needs {key} = \"…\"", self.heading))
        })
    }

    /// A required number above zero.
    pub fn positive(&self, key: &str) -> Result<f64> {
        let Some((at, value)) = self.content.get_key_value(key) else {
            return Err(Fault::new(Kind::Config, format!("the key {key} is missing"))
                .at(format_args!("{} line {}", self.source.name, self.line))
                .remedy(format_args!("{} needs {key} = a number above 0", self.heading)));
        };
        let number = match Value::from(value.get_ref()) {
            Value::Integer(number) => number as f64,
            Value::Float(number) => number,
            _ => f64::NAN,
        };
        match number.is_finite() && number > 0.0 {
            true => Ok(number),
            false => Err(self.refuse(at, value.get_ref(), "a number above 0")),
        }
    }

    /// A name that can be part of a folder's name.
    pub fn name(&self) -> Result<String> {
        let name = self.required_text("name")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || "_-.+".contains(c);
        if name.len() <= 80 && name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(fits)
        {
            return Ok(name);
        }
        Err(Fault::new(Kind::Config, "the name cannot be part of a folder's name")
            .at(self.place_of("name"))
            .found(format_args!("\"{}\"", name.escape_debug()))
            .remedy("use at most 80 ASCII letters and digits, and `_`, `-`, `.`, `+` after the first"))
    }

    /// A list of texts; `None` if the key is missing.
    pub fn texts(&self, key: &str) -> Result<Option<Vec<String>>> {
        let text = |value: &DeValue| match value {
            DeValue::String(text) if !text.trim().is_empty() => Some(text.to_string()),
            _ => None,
        };
        self.list(key, "non-empty strings", &text)
    }

    /// Distinct seeds; `None` if the key is missing.
    pub fn seeds(&self) -> Result<Option<Vec<u64>>> {
        let seed = |value: &DeValue| match Value::from(value) {
            Value::Integer(number) => u64::try_from(number).ok(),
            _ => None,
        };
        let seeds = self.list("seeds", "integers from 0 to 18446744073709551615", &seed)?;
        if let Some(seeds) = &seeds
            && let Some(twice) = seeds.iter().enumerate().find(|(i, seed)| seeds[..*i].contains(seed))
        {
            return Err(Fault::new(Kind::Config, "a seed is listed twice")
                .at(self.place_of("seeds"))
                .found(twice.1)
                .remedy("list each once"));
        }
        Ok(seeds)
    }

    /// A list with at least one item, each read by `read`.
    fn list<T>(
        &self,
        key: &str,
        items: &str,
        read: &dyn Fn(&DeValue) -> Option<T>,
    ) -> Result<Option<Vec<T>>> {
        let Some((at, value)) = self.content.get_key_value(key) else { return Ok(None) };
        let expected = format!("a list of {items}, at least one");
        let DeValue::Array(array) = value.get_ref() else {
            return Err(self.refuse(at, value.get_ref(), &expected));
        };
        let refused = array.iter().find(|item| read(item.get_ref()).is_none());
        if let Some(item) = refused {
            return Err(self.refuse(at, item.get_ref(), &expected));
        }
        if array.is_empty() {
            let fault = Fault::new(Kind::Config, "empty list").at(self.place(at));
            return Err(fault.remedy(format_args!("use {expected}")));
        }
        Ok(Some(array.iter().filter_map(|item| read(item.get_ref())).collect()))
    }

    fn refuse(&self, key: &Spanned<Cow<str>>, found: &DeValue, expected: &str) -> Fault {
        Fault::new(Kind::Config, "wrong value")
            .at(self.place(key))
            .found(Value::from(found))
            .remedy(format_args!("use {expected}"))
    }

    fn place(&self, key: &Spanned<Cow<str>>) -> String {
        let line = self.source.line(key.span().start);
        format!("{} line {line}, key {}", self.source.name, key.get_ref())
    }

    /// The place of a key, or of the table if the key is missing.
    pub fn place_of(&self, key: &str) -> String {
        match self.content.get_key_value(key) {
            Some((at, _)) => self.place(at),
            None => format!("{} line {}", self.source.name, self.line),
        }
    }
}
