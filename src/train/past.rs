//! How far a run has come, according to its newest checkpoint.

use super::checkpoint::{self, Checkpoint, Latest};
use super::run_folder::RunFolder;
use crate::config::Config;
use crate::fault::Result;
use crate::files::{is_unfinished, names_in};
use std::path::Path;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub steps: u64,
    /// Whether nothing is left to do.
    pub whole: bool,
}

impl Past {
    /// Reads it from the run's folder.
    ///
    /// # Errors
    /// Those of [`Checkpoint::latest`].
    pub fn of(run: &RunFolder, config: &Config) -> Result<Self> {
        Ok(Self::by(Checkpoint::latest(run)?, config))
    }

    /// The same by the states of the checkpoints and the lengths of their files, which takes no time.
    ///
    /// # Errors
    /// Those of [`Checkpoint::latest_at_a_glance`].
    pub fn at_a_glance(run: &RunFolder, config: &Config) -> Result<Self> {
        Ok(Self::by(Checkpoint::latest_at_a_glance(run)?, config))
    }

    fn by(latest: Option<Latest>, config: &Config) -> Self {
        latest.map_or_else(Self::default, |latest| {
            let state = latest.checkpoint.state();
            Self { steps: state.step, whole: state.step == config.train.steps && !state.owes_evaluation }
        })
    }
}

/// Finishes the tidying of a complete run whose process was killed after its last checkpoint. Leaves a run alone that needs
/// no tidying.
///
/// # Errors
/// Those of [`RunFolder::open`] and of deleting files.
pub fn settle(path: &Path, config: &Config) -> Result<()> {
    let keep = config.train.keep_checkpoints;
    let checkpoints = RunFolder::read(path)?.checkpoints();
    let unfinished = names_in(path)?.iter().any(|name| is_unfinished(name));
    if !unfinished && checkpoint::is_settled(&checkpoints, keep)? {
        return Ok(());
    }
    // This takes the lock, and clears away what opening a run clears away.
    let _run = RunFolder::open(path)?;
    checkpoint::prune(&checkpoints, config.train.steps, keep)
}
