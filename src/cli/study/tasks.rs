//! The runs of a study with what is known of them before they are touched.

use crate::ops::Traits;
use crate::study::{Cost, Grid, Run, State};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// One run to be trained.
pub(super) struct Task<'a> {
    pub run: &'a Run,
    pub path: PathBuf,
    /// The label in the display: its place among all and its folder.
    pub label: String,
    /// Whether nothing is left to do, as far as a glance tells.
    pub done: bool,
    /// The work of one step in the display, and the work counted as done.
    pub work: f64,
    pub counted: f64,
}

/// One task for each run.
pub(super) fn tasks<'a>(grid: &Grid, runs: &[&'a Run]) -> Vec<Task<'a>> {
    let work = work(runs);
    let task = |(place, run): (usize, &&'a Run)| {
        let path = grid.path(run);
        let work = work[&run.configuration];
        // A bad folder is reported when its run's turn comes; only then are its files read.
        let state = State::at_a_glance(run, &path).unwrap_or(State::Missing);
        let counted = state.steps_done(run.config.train.steps) as f64 * work;
        let label = format!("{}/{} {}", place + 1, runs.len(), run.folder.display());
        Task { run, path, label, done: state == State::Done, work, counted }
    };
    runs.iter().enumerate().map(task).collect()
}

/// Operations of a step of each configuration: the work of a step in the display.
fn work(runs: &[&Run]) -> BTreeMap<String, f64> {
    let mut work = BTreeMap::new();
    for run in runs {
        // Only ratios matter, and those are the same on every device.
        let cost = || Cost::new(&run.config, &Traits::floor(), 0).step();
        work.entry(run.configuration.clone()).or_insert_with(cost);
    }
    work
}
