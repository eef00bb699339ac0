//! What a run has behind it, by its newest checkpoint.

use super::checkpoint::Checkpoint;
use super::run_folder::RunFolder;
use crate::config::Config;
use crate::fault::Result;

/// How far a run has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Past {
    pub steps: u64,
    /// Nothing is left to do.
    pub whole: bool,
}

impl Past {
    /// Reads it from the run's folder.
    ///
    /// # Errors
    /// Those of [`Checkpoint::latest`].
    pub fn of(run: &RunFolder, config: &Config) -> Result<Self> {
        Ok(Checkpoint::latest(run)?.map_or_else(Self::default, |latest| {
            let state = latest.checkpoint.state();
            Self { steps: state.step, whole: state.step == config.train.steps && !state.owes_evaluation }
        }))
    }
}
