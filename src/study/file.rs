//! STUDY.toml as typed: a base that all runs share, sizes, configurations and seeds.

use std::path::{Path, PathBuf};

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::Table;
use crate::config::{Sheet, Source, TABLES, Value, nearest};
use crate::fault::{Fault, Kind, Result};

/// Tables in addition to those of a configuration.
const OWN: [&str; 3] = ["study", "size", "configuration"];

/// The default output folder.
const RUNS: &str = "runs/study";

/// A study file; values of configurations are not checked yet.
pub(super) struct File {
    /// The file's name, for messages.
    pub source: String,
    pub name: String,
    /// The folder of the runs.
    pub out: PathBuf,
    pub baseline: Entry,
    /// Sources for `normfree prepare`, used if `data.path` does not exist yet.
    pub prepare: Option<Vec<String>>,
    /// What all runs share.
    pub base: Sheet,
    /// Empty if the study has one size.
    pub sizes: Vec<Variant>,
    pub configurations: Vec<Variant>,
}

/// A text and its place in the file.
pub(super) struct Entry {
    pub text: String,
    pub place: String,
}

/// One `[[size]]` or `[[configuration]]`: its changes to the base.
pub(super) struct Variant {
    pub name: String,
    /// The place of its name.
    pub place: String,
    pub label: Option<String>,
    /// Seeds of a configuration; a size has none.
    pub seeds: Vec<u64>,
    pub changes: Sheet,
}

impl File {
    /// Reads the text of a study file; `name` stands for it in messages.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::fault::Kind::Config), with the line.
    pub fn parse(text: &str, name: &str) -> Result<Self> {
        let source = Source::new(text, name);
        let root = source.parse()?;
        let root = root.get_ref();
        refuse_unknown(root, &source)?;
        let base = Sheet::of_tables(root, &source, &OWN)?;
        let study = root.get("study").ok_or_else(|| missing(name, "[study]", "name and baseline"))?;
        let study = Table::new(study, &source, "[study]")?;
        study.check_keys(&["name", "baseline", "out", "seeds", "prepare"], false)?;
        let seeds = study.seeds()?.unwrap_or_else(|| vec![1]);
        let sizes = variants(root, &source, "size", "[[size]]", &[])?;
        let configurations = variants(root, &source, "configuration", "[[configuration]]", &seeds)?;
        if configurations.is_empty() {
            return Err(missing(name, "[[configuration]]", "name and what it changes"));
        }
        let name = study.name()?;
        let out = study.text("out")?.map_or_else(|| Path::new(RUNS).join(&name), PathBuf::from);
        Ok(Self {
            source: source.name.to_string(),
            name,
            out,
            baseline: Entry { text: study.required_text("baseline")?, place: study.place_of("baseline") },
            prepare: study.texts("prepare")?,
            base,
            sizes,
            configurations,
        })
    }
}

/// Refuses unknown tables; keys inside tables are checked where they are read.
fn refuse_unknown(root: &DeTable, source: &Source) -> Result<()> {
    let known: Vec<&str> = OWN.into_iter().chain(TABLES).collect();
    for (key, value) in root {
        let typed: &str = key.get_ref();
        if known.contains(&typed) {
            continue;
        }
        let near = nearest(typed, known.iter().copied());
        let near = near.map(|table| format!("did you mean {table}? ")).unwrap_or_default();
        let what = if value.get_ref().is_table() { "unknown table" } else { "unknown key" };
        return Err(Fault::new(Kind::Config, what)
            .at(format_args!("{} line {}", source.name, source.line(key.span().start)))
            .found(typed)
            .remedy(format_args!(
                "{near}a study has [study], [[configuration]], [[size]], and for all runs [model], [data], [train], \
                 [observe]"
            )));
    }
    Ok(())
}

/// The entries of an array of tables; empty if it is missing.
fn variants(
    root: &DeTable,
    source: &Source,
    key: &str,
    heading: &'static str,
    seeds: &[u64],
) -> Result<Vec<Variant>> {
    let Some((at, value)) = root.get_key_value(key) else { return Ok(Vec::new()) };
    let DeValue::Array(entries) = value.get_ref() else {
        return Err(Fault::new(Kind::Config, "wrong type")
            .at(format_args!("{} line {}", source.name, source.line(at.span().start)))
            .found(Value::from(value.get_ref()))
            .remedy(format_args!("write each as a table of its own under {heading}")));
    };
    entries.iter().map(|entry| variant(entry, source, heading, seeds)).collect()
}

fn variant(
    entry: &Spanned<DeValue>,
    source: &Source,
    heading: &'static str,
    seeds: &[u64],
) -> Result<Variant> {
    let table = Table::new(entry, source, heading)?;
    // Sizes have no seeds of their own.
    let own = if seeds.is_empty() { &["name", "label"][..] } else { &["name", "label", "seeds"] };
    table.check_keys(own, true)?;
    let own_seeds = if seeds.is_empty() { None } else { table.seeds()? };
    Ok(Variant {
        name: table.name()?,
        place: table.place_of("name"),
        label: table.text("label")?,
        seeds: own_seeds.unwrap_or_else(|| seeds.to_vec()),
        changes: Sheet::of_tables(table.content, source, own)?,
    })
}

fn missing(name: &str, table: &str, with: &str) -> Fault {
    Fault::new(Kind::Config, format!("there is no {table}"))
        .at(name)
        .remedy(format_args!("a study needs {table} with {with}"))
}
