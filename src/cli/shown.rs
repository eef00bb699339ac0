//! What the heads of runs read, for the report page.

use super::Global;
use super::attend::{held_out, pieces, title};
use super::located::locate;
use crate::device::Device;
use crate::fault::Result;
use crate::files::{is_unfinished, names_in};
use crate::generate::attend;
use crate::pattern::{Kept, Patterns};
use crate::report::comparison::Comparison;
use crate::report::run::RunData;
use crate::train::loader::from_file;
use std::path::{Path, PathBuf};

/// The most bytes of weights in a page, before base64, and the fewest and the most tokens of a pattern.
const BYTES: f64 = 1.5e6;
const TOKENS: (usize, usize) = (16, 64);
/// The most checkpoints of a run.
const CHECKPOINTS: usize = 5;

/// Adds patterns of the kept checkpoints to the runs of a comparison. Runs without checkpoints, data or tokenizer get none.
/// Returns why the first of them that failed has none.
pub(super) fn add_patterns(comparison: &mut Comparison, device: &Device, global: &Global) -> Option<String> {
    let quiet = Global { quiet: true, ..global.clone() };
    let jobs: Vec<(usize, Vec<PathBuf>)> = comparison
        .runs
        .iter()
        .enumerate()
        .filter(|(_, run)| run.published.is_none())
        .map(|(index, run)| (index, checkpoints(run)))
        .collect();
    let heads = |(index, of): &(usize, Vec<PathBuf>)| {
        let number = |key| comparison.runs[*index].setting("model", key).and_then(toml::Value::as_integer);
        (number("n_layer").unwrap_or(0) * number("n_head").unwrap_or(0)) as usize * of.len()
    };
    let patterns: usize = jobs.iter().map(heads).sum();
    if patterns == 0 {
        return None;
    }
    // T(T+1)/2 weights each.
    let tokens = (2.0 * BYTES / patterns as f64).sqrt() as usize;
    if tokens < TOKENS.0 {
        return Some(format!("{patterns} heads of all checkpoints are too many for a page; give fewer runs"));
    }
    let tokens = tokens.min(TOKENS.1);
    let mut why = None;
    for (index, checkpoints) in jobs {
        for path in checkpoints {
            match of_checkpoint(&path, tokens, device, &quiet) {
                Ok(found) => comparison.runs[index].patterns.push(found),
                Err(fault) => {
                    why.get_or_insert_with(|| fault.to_string());
                }
            }
        }
    }
    why
}

/// The kept checkpoints of a run, the newest among them, spread over its training.
fn checkpoints(run: &RunData) -> Vec<PathBuf> {
    let folder = run.dir.join("checkpoints");
    let names: Vec<String> =
        names_in(&folder).unwrap_or_default().into_iter().filter(|name| !is_unfinished(name)).collect();
    let every = names.len().div_ceil(CHECKPOINTS).max(1);
    let mut chosen: Vec<PathBuf> = names.iter().rev().step_by(every).map(|name| folder.join(name)).collect();
    chosen.reverse();
    chosen
}

fn of_checkpoint(path: &Path, tokens: usize, device: &Device, global: &Global) -> Result<(u64, Patterns)> {
    let located = locate(path, global)?;
    let tokenizer = located.tokenizer(None, global)?;
    let (ids, _) = held_out(&located, tokens.min(located.config.train.sequence_length))?;
    let step = located.step();
    let model = &located.config.model;
    let mut patterns = Patterns {
        title: title(&located.config, located.folder(), step),
        notes: Vec::new(),
        tokens: pieces(&tokenizer, &ids)?,
        heads: model.n_head,
        kept: Vec::new(),
    };
    attend(device, model, from_file(located.weights), &ids, &mut |head| {
        patterns.kept.push(Kept::from(&head));
        Ok(())
    })?;
    Ok((step.unwrap_or_default(), patterns))
}
