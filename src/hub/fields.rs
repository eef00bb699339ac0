//! The fields of a `config.json`, as its readers ask for them: each is taken by name, and what nobody asks for is left.

use crate::fault::{Fault, Kind, Result};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The fields of a file, and which were asked for.
pub(super) struct Fields {
    path: PathBuf,
    fields: Map<String, Value>,
    asked: BTreeSet<String>,
}

impl Fields {
    pub fn new(path: &Path, fields: Map<String, Value>) -> Self {
        Self { path: path.to_owned(), fields, asked: BTreeSet::new() }
    }

    /// A field, unless it is missing or null.
    pub fn take(&mut self, name: &str) -> Option<&Value> {
        self.asked.insert(name.to_owned());
        self.fields.get(name).filter(|value| !value.is_null())
    }

    /// Leaves fields aside, whatever they say.
    pub fn skip(&mut self, names: &[&str]) {
        self.asked.extend(names.iter().map(|&name| name.to_owned()));
    }

    /// A field that is a whole number.
    pub fn count(&mut self, name: &str) -> Result<Option<u64>> {
        let refused = self.wrong(name, "a whole number");
        self.take(name).map(|value| value.as_u64().ok_or(refused)).transpose()
    }

    /// The same, which must be there.
    pub fn size(&mut self, name: &str) -> Result<u64> {
        let missing = Fault::new(Kind::Checkpoint, format!("config.json says no {name}"))
            .at(self.path.display())
            .remedy("add it: the weights alone do not show it");
        self.count(name)?.ok_or(missing)
    }

    /// A field that is a number.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>> {
        let refused = self.wrong(name, "a number");
        self.take(name).map(|value| value.as_f64().ok_or(refused)).transpose()
    }

    /// A field that is true or false.
    pub fn flag(&mut self, name: &str) -> Result<Option<bool>> {
        let refused = self.wrong(name, "true or false");
        self.take(name).map(|value| value.as_bool().ok_or(refused)).transpose()
    }

    /// A field that is a word.
    pub fn word(&mut self, name: &str) -> Result<Option<String>> {
        let refused = self.wrong(name, "a word");
        self.take(name).map(|value| value.as_str().map(str::to_owned).ok_or(refused)).transpose()
    }

    /// Refuses a model whose field, if it is there, is not `wanted`.
    pub fn must_be(&mut self, name: &str, wanted: &Value) -> Result<()> {
        let found = self.take(name).filter(|found| !same(found, wanted)).cloned();
        found.map_or(Ok(()), |found| Err(self.refused(name, &found, &format!("only {wanted}"))))
    }

    /// The fields that nobody asked for and that say something.
    pub fn left(&self) -> Vec<&str> {
        let says = |value: &Value| match value {
            Value::Null | Value::Bool(false) => false,
            Value::Array(list) => !list.is_empty(),
            Value::Object(table) => !table.is_empty(),
            _ => true,
        };
        let left = self.fields.iter().filter(|(name, value)| says(value) && !self.asked.contains(*name));
        left.map(|(name, _)| name.as_str()).collect()
    }

    /// The refusal of a field's value; `takes` says what this program computes.
    pub fn refused(&self, name: &str, found: &Value, takes: &str) -> Fault {
        Fault::new(Kind::Checkpoint, "this program does not compute the model")
            .at(self.path.display())
            .found(format_args!("{name} = {found}"))
            .remedy(format_args!("it computes {takes} there"))
    }

    fn wrong(&self, name: &str, wanted: &str) -> Fault {
        let found = self.fields.get(name).cloned().unwrap_or_default();
        Fault::new(Kind::Checkpoint, format!("{name} is not {wanted}")).at(self.path.display()).found(found)
    }
}

/// Whether two values are equal; numbers are, however they are written.
fn same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}
