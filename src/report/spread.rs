//! How a run's heads are distributed over the quarters of 0 … M.

use super::run::RunData;
use super::stats::Reference;
use crate::fault::Result;
use crate::observe::entropy::{bins, observed_max};
use crate::observe::quantities::HEAD_ENTROPY;

/// What the newest attention record of one run shows, against its reference M.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// M in nats.
    pub reference: f64,
    /// Shares of heads in the four quarters of 0 … M.
    pub bins: [f64; 4],
    pub heads: usize,
    /// Heads without a finite entropy; they are in no bin.
    pub nonfinite: usize,
    /// Steps done when the heads were measured; for several runs, the smallest such number.
    pub step: u64,
}

impl Spread {
    /// Share of heads in [3M/4, M].
    pub fn overload(&self) -> f64 {
        self.bins[3]
    }

    /// Share of heads in [0, M/4).
    pub fn collapse(&self) -> f64 {
        self.bins[0]
    }

    /// The mean over several runs; `None` if there are none. Their M differ only if their context lengths do.
    pub fn mean(spreads: &[Self]) -> Option<Self> {
        let n = spreads.len() as f64;
        let mean = |part: &dyn Fn(&Self) -> f64| spreads.iter().map(part).sum::<f64>() / n;
        spreads.first().map(|first| Self {
            reference: mean(&|s| s.reference),
            bins: std::array::from_fn(|quarter| mean(&|s| s.bins[quarter])),
            heads: first.heads,
            nonfinite: spreads.iter().map(|s| s.nonfinite).sum(),
            step: spreads.iter().map(|s| s.step).min().unwrap_or(first.step),
        })
    }
}

/// M of every run with attention records, in nats. Entropies of a diverged run do not set M for the others.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn references(runs: &[RunData], reference: Reference) -> Result<Vec<Option<f64>>> {
    let largest = |of: &dyn Fn(&RunData) -> bool| {
        let grids: Vec<_> = runs.iter().filter(|run| of(run)).filter_map(RunData::entropies).collect();
        observed_max(grids.iter().map(Vec::as_slice))
    };
    let observed = match largest(&|run| run.diverged_at().is_none()) {
        none if none <= 0.0 => largest(&|_| true),
        most => most,
    };
    let of = |run: &RunData| {
        let seen = !run.log.heads(&HEAD_ENTROPY).is_empty();
        seen.then(|| reference.nats(observed, run.context)).transpose()
    };
    runs.iter().map(of).collect()
}

/// The spread of every run's head entropies; `None` for a run without attention records, and for a diverged one: its heads
/// were last measured before that, or are not finite.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn spreads(runs: &[RunData], reference: Reference) -> Result<Vec<Option<Spread>>> {
    let spread = |(run, m): (&RunData, Option<f64>)| {
        let (step, m) = (run.log.heads(&HEAD_ENTROPY).last()?.0, m?);
        let grid = run.entropies().filter(|_| run.diverged_at().is_none())?;
        let heads = grid.iter().flatten();
        Some(Spread {
            reference: m,
            bins: bins(&grid, m),
            heads: heads.clone().count(),
            nonfinite: heads.filter(|entropy| !entropy.is_finite()).count(),
            step,
        })
    };
    Ok(runs.iter().zip(references(runs, reference)?).map(spread).collect())
}
