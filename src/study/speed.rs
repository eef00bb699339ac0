//! How fast this device was at a study's runs, by their logs, and how long the rest will take.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::Value;

use super::{Cost, Grid, Run};
use crate::config::Config;
use crate::observe::quantities::TOKENS_PER_S;
use crate::report::run::RunData;
use crate::train::run_folder::RunFolder;

/// Fewer steps than this say nothing: the first wait for kernels to be compiled.
const ENOUGH: usize = 10;

/// Measured speeds, in floating-point operations a second by the tapes' own count.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Speeds {
    by_configuration: BTreeMap<String, Vec<f64>>,
}

/// Where an estimate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Basis {
    /// Steps of this very configuration.
    Own,
    /// Steps of other configurations, scaled by operations.
    Others,
}

impl Speeds {
    /// Reads the logs of a study's runs, those alone that were trained on the adapter of this name.
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

    /// Adds what was measured of a configuration, in operations a second.
    pub fn add(&mut self, configuration: &str, speed: f64) {
        self.by_configuration.entry(configuration.to_owned()).or_default().push(speed);
    }

    /// How many runs were measured.
    pub fn count(&self) -> usize {
        self.by_configuration.values().map(Vec::len).sum()
    }

    /// Seconds for so many operations of a configuration, and what that is taken from; `None` where nothing was
    /// measured.
    pub fn seconds(&self, configuration: &str, operations: f64) -> Option<(f64, Basis)> {
        if let Some(own) = self.by_configuration.get(configuration) {
            return median(own.clone()).map(|speed| (operations / speed, Basis::Own));
        }
        let all = self.by_configuration.values().flatten().copied().collect();
        median(all).map(|speed| (operations / speed, Basis::Others))
    }
}

/// The median speed of a run's steps in tokens a second; `None` where there is none worth the name, or none to be read:
/// what is wrong with a run's folder its [`State`](super::State) tells.
fn logged(run: &Run, path: &Path, adapter: &str) -> Option<f64> {
    let folder = RunFolder::read(path).ok()?;
    let environment: Value = serde_json::from_slice(&std::fs::read(folder.environment()).ok()?).ok()?;
    let own = Config::load_of_run(&folder.config(), &[]).ok()?;
    // A run of other sizes, or of another device, was not as fast.
    if environment["adapter"]["name"].as_str() != Some(adapter)
        || !own.differences(&run.config, &[]).is_empty()
    {
        return None;
    }
    let speeds: Vec<f64> =
        RunData::load(path).ok()?.log.numbers(&TOKENS_PER_S).iter().map(|step| step.1).collect();
    if speeds.len() < ENOUGH { None } else { median(speeds) }
}

/// The middle of some numbers; `None` of none.
fn median(mut numbers: Vec<f64>) -> Option<f64> {
    numbers.retain(|number| number.is_finite() && *number > 0.0);
    numbers.sort_by(f64::total_cmp);
    numbers.get(numbers.len() / 2).copied()
}
