//! Published matrices, read from a TOML file and drawn beside runs in the same style.

use std::collections::BTreeMap;
use std::path::Path;

use super::run::RunData;
use crate::fault::{Fault, Kind, Result};
use crate::observe::history::History;
use crate::observe::quantities::{ATTENTION, EVAL, HEAD_ENTROPY, LAYER_ENTROPY, NONFINITE_ATTENTION};
use crate::observe::record::{Eval, Measured, Values};

/// Reads the matrices of a TOML file, each as a run with little else known about it. The key `source` says where they come
/// from, `context` is the sequence length, which some references M need, and `[published_perplexity]` holds perplexities of
/// some of them. Other keys without a matrix are skipped.
///
/// # Errors
/// `Data` if the file holds no matrix, or a damaged one; `Io`.
pub fn load(path: &Path) -> Result<Vec<RunData>> {
    let damaged = |found: String| {
        Fault::new(Kind::Data, "the file of entropies cannot be used")
            .at(path.display())
            .found(found)
            .remedy("write matrices as in sm_g = [[2.7, 3.4], [1.9, 1.7]]")
    };
    let text = std::fs::read_to_string(path).map_err(|e| Fault::io("read the entropies", path, &e))?;
    let mut table: toml::Table =
        text.parse().map_err(|e: toml::de::Error| damaged(e.message().to_owned()))?;
    let perplexity: BTreeMap<String, f64> = match table.remove("published_perplexity") {
        Some(value) => value
            .try_into()
            .map_err(|e: toml::de::Error| damaged(format!("published_perplexity: {}", e.message())))?,
        None => BTreeMap::new(),
    };
    let context = match table.get("context") {
        None => None,
        Some(value) => match value.as_integer().and_then(|context| usize::try_from(context).ok()) {
            Some(context) if context > 0 => Some(context),
            _ => return Err(damaged(format!("context = {value}"))),
        },
    };
    let source = table.get("source").and_then(toml::Value::as_str);
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let source = source.map_or_else(|| file.into_owned(), str::to_owned);
    let mut runs = Vec::new();
    for (key, value) in table {
        if !value.as_array().is_some_and(|rows| rows.first().is_some_and(toml::Value::is_array)) {
            continue;
        }
        let head_entropy: Vec<Vec<f32>> =
            value.try_into().map_err(|e: toml::de::Error| damaged(format!("{key}: {}", e.message())))?;
        let heads = head_entropy.first().map_or(0, Vec::len);
        if heads == 0 || head_entropy.iter().any(|row| row.len() != heads) {
            return Err(damaged(format!("{key}: rows of different length, or none")));
        }
        let of_layers = head_entropy.iter().map(|row| row.iter().sum::<f32>() / heads as f32).collect();
        let values = Measured::from([
            (&LAYER_ENTROPY, Values::Layers(of_layers)),
            (&NONFINITE_ATTENTION, Values::Counts(vec![0; head_entropy.len()])),
            (&HEAD_ENTROPY, Values::Heads(head_entropy)),
        ]);
        let mut log = History::default();
        log.push(&ATTENTION, 0, &values);
        if let Some(&ppl) = perplexity.get(&key) {
            log.push(&EVAL, 0, &Eval { step: 0, loss: ppl.ln(), ppl }.values());
        }
        runs.push(RunData {
            dir: path.to_owned(),
            name: key.to_uppercase().replace('_', "+"),
            published: Some(source.clone()),
            context,
            log,
            ..RunData::default()
        });
    }
    if runs.is_empty() {
        return Err(damaged("no matrix".to_owned()));
    }
    Ok(runs)
}
