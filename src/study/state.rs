//! The progress of a study's run, judging by its folder.

use std::path::Path;

use super::Run;
use crate::config::Config;
use crate::fault::Result;
use crate::train::past::Past;
use crate::train::run_folder::RunFolder;

/// The state of a run before it is touched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// There is no run yet.
    Missing,
    /// It stopped after this many steps and can be resumed.
    Stopped(u64),
    Done,
    /// Another process is using it.
    InUse(String),
    /// The folder holds a run of another configuration: the differing keys, with both values.
    Different(Vec<String>),
}

impl State {
    /// Inspects the folder at `path`, which belongs to `run`.
    ///
    /// # Errors
    /// Errors of reading the run's configuration and its checkpoints.
    pub fn of(run: &Run, path: &Path) -> Result<Self> {
        match RunFolder::holder(path)? {
            // Its files may be changing right now.
            Some(holder) => Ok(Self::InUse(holder)),
            None => Self::of_content(run, path),
        }
    }

    /// The same without asking whether another process is using it; opening the folder reveals that anyway.
    ///
    /// # Errors
    /// As [`State::of`].
    pub fn of_content(run: &Run, path: &Path) -> Result<Self> {
        Self::by(run, path, Past::of)
    }

    /// The same by the states of the checkpoints and the lengths of their files, without reading these.
    ///
    /// # Errors
    /// As [`State::of`].
    pub fn at_a_glance(run: &Run, path: &Path) -> Result<Self> {
        Self::by(run, path, Past::at_a_glance)
    }

    fn by(run: &Run, path: &Path, past: fn(&RunFolder, &Config) -> Result<Past>) -> Result<Self> {
        if !RunFolder::is_at(path) {
            return Ok(Self::Missing);
        }
        let folder = RunFolder::read(path)?;
        let own = Config::load_of_run(&folder.config(), &[])?;
        let differences = own.differences(&run.config, &[]);
        if !differences.is_empty() {
            return Ok(Self::Different(differences));
        }
        let past = past(&folder, &run.config)?;
        Ok(if past.whole { Self::Done } else { Self::Stopped(past.steps) })
    }

    /// Completed steps, out of `steps`.
    pub fn steps_done(&self, steps: u64) -> u64 {
        match self {
            Self::Stopped(done) => *done,
            Self::Done => steps,
            Self::Missing | Self::InUse(_) | Self::Different(_) => 0,
        }
    }
}
