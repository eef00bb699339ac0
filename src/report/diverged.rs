//! A sentence about how many runs of a configuration diverged.

use std::fmt;

use super::run::RunData;
use crate::draw::axes::tick_text;

/// Which of a configuration's runs diverged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Divergence {
    /// How many, out of how many.
    pub runs: usize,
    pub of: usize,
    /// The step at which the first of them diverged.
    pub step: u64,
}

impl Divergence {
    /// None if no run diverged.
    pub fn of<'a>(runs: impl Iterator<Item = &'a RunData> + Clone) -> Option<Self> {
        let steps = runs.clone().filter_map(RunData::diverged_at);
        steps.clone().min().map(|step| Self { runs: steps.count(), of: runs.count(), step })
    }

    /// Whether all runs diverged.
    pub fn whole(self) -> bool {
        self.runs == self.of
    }
}

/// "diverged at step 3"; for several seeds "2 of 3 diverged, first at step 3".
impl fmt::Display for Divergence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let step = tick_text(self.step as f64, 1.0);
        match self.of {
            1 => write!(f, "diverged at step {step}"),
            of => write!(f, "{} of {of} diverged, first at step {step}", self.runs),
        }
    }
}
