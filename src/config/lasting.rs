//! The part of a configuration that a run keeps to its end: every key that its weights depend on.

use serde_json::{Value, json};

use super::{Config, TABLES, free_on_resume, rows};
use crate::fault::{Fault, Kind, Result};

impl Config {
    /// The keys that a resumed run must keep, by table, for a checkpoint.
    pub fn lasting(&self) -> Value {
        let mut tables = json!(self);
        each_table(&mut tables, |table, keys| keys.retain(|key, _| !is_free(table, key)));
        tables
    }

    /// The configurations that this one had before it was given more steps, the latest first.
    pub fn before_extensions(&self) -> Vec<Self> {
        let ends = self.train.extensions().unwrap_or_default();
        let before = (0..ends.len()).rev().map(|count| {
            let mut config = self.clone();
            let earlier: Vec<String> = ends[..count].iter().map(u64::to_string).collect();
            config.train.steps = ends[count];
            config.train.extended_from = (count > 0).then(|| earlier.join(","));
            config
        });
        before.collect()
    }

    /// Keys whose values differ from an earlier result of [`lasting`](Self::lasting), each with both values.
    /// A key that was unknown then has its default.
    ///
    /// # Errors
    /// [`Kind::Config`] if the record is not a configuration of this program.
    pub fn departures(&self, recorded: &Value) -> Result<Vec<String>> {
        let mut then = json!(self);
        each_table(&mut then, |table, keys| {
            keys.retain(|key, _| is_free(table, key));
            keys.extend(recorded[table].as_object().cloned().unwrap_or_default());
        });
        let text = toml::to_string(&then).map_err(|error| {
            Fault::new(Kind::Config, "the configuration of a checkpoint cannot be read").found(error)
        })?;
        Ok(Self::parse(&text, "the checkpoint's configuration", &[])?.differences(self, &free_on_resume()))
    }
}

fn is_free(table: &str, key: &str) -> bool {
    rows::find(&format!("{table}.{key}")).is_some_and(|row| row.changes.on_resume())
}

fn each_table(tables: &mut Value, mut change: impl FnMut(&str, &mut serde_json::Map<String, Value>)) {
    for table in TABLES {
        if let Some(keys) = tables[table].as_object_mut() {
            change(table, keys);
        }
    }
}
