//! How fast this device ran a study's runs, according to their logs, and how long the rest will take.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Cost, Grid, Run};
use crate::config::Config;
use crate::observe::quantities::TOKENS_PER_S;
use crate::report::run::RunData;
use crate::train::run_folder::RunFolder;

/// Fewer steps than this say nothing: the first ones wait for kernels to be compiled.
const ENOUGH: usize = 10;

/// Measured speeds, in floating-point operations per second as counted by the tapes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speeds {
    by_configuration: BTreeMap<String, Vec<f64>>,
}

/// The basis of an estimate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Steps of the same configuration.
    Own,
    /// Steps of other configurations, scaled by operations.
    Others,
}

impl Speeds {
    /// Reads the logs of those of a study's runs that were trained on the adapter of this name.
    pub fn of(grid: &Grid, costs: &BTreeMap<String, Cost>, adapter: &str) -> Self {
        let mut speeds = Self::default();
        for run in &grid.runs {
            if let Some(cost) = costs.get(&run.configuration)
                && let Some(tokens) = logged(run, &grid.path(run), adapter)
            {
                speeds.add(&run.configuration, cost.speed(tokens));
            }
        }
        speeds
    }

    /// Adds a measured speed of a configuration, in operations per second.
    pub fn add(&mut self, configuration: &str, speed: f64) {
        self.by_configuration.entry(configuration.to_owned()).or_default().push(speed);
    }

    /// The number of runs measured.
    pub fn count(&self) -> usize {
        self.by_configuration.values().map(Vec::len).sum()
    }

    /// Seconds for `operations` of a configuration, and the basis of that estimate; `None` if nothing was measured.
    pub fn seconds(&self, configuration: &str, operations: f64) -> Option<(f64, Basis)> {
        if let Some(own) = self.by_configuration.get(configuration) {
            return median(own.clone()).map(|speed| (operations / speed, Basis::Own));
        }
        let all = self.by_configuration.values().flatten().copied().collect();
        median(all).map(|speed| (operations / speed, Basis::Others))
    }
}

/// The median speed of a run's steps in tokens per second; `None` if none is usable.
/// [`State`](super::State) reports what is wrong with a run's folder.
fn logged(run: &Run, path: &Path, adapter: &str) -> Option<f64> {
    let folder = RunFolder::read(path).ok()?;
    let environment: Value = serde_json::from_slice(&std::fs::read(folder.environment()).ok()?).ok()?;
    let own = Config::load_of_run(&folder.config(), &[]).ok()?;
    // A run of another size or on another device tells nothing about this speed.
    if environment["adapter"]["name"].as_str() != Some(adapter)
        || !own.differences(&run.config, &[]).is_empty()
    {
        return None;
    }
    let speeds: Vec<f64> =
        RunData::load(path).ok()?.log.numbers(&TOKENS_PER_S).iter().map(|step| step.1).collect();
    if speeds.len() < ENOUGH { None } else { median(speeds) }
}

/// The median of some numbers; `None` if there are none.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.retain(|number| number.is_finite() && *number > 0.0);
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
