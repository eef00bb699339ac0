//! How a run's heads spread over the quarters of 0 … M.

use super::run::RunData;
use super::stats::{Reference, bins, observed_max};
use crate::fault::Result;

/// What the newest attention record of one run shows, against its reference M.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// M in nats.
    pub reference: f64,
    /// Shares of heads in the four quarters of 0 … M.
    pub bins: [f64; 4],
    pub heads: usize,
    /// Heads without a finite entropy; they lie in no bin.
    pub nonfinite: usize,
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

    /// The mean over several runs; none of none. M differs between them only with the length of their context.
    pub fn mean(spreads: &[Self]) -> Option<Self> {
        let n = spreads.len() as f64;
        let mean = |part: &dyn Fn(&Self) -> f64| spreads.iter().map(part).sum::<f64>() / n;
        spreads.first().map(|first| Self {
            reference: mean(&|s| s.reference),
            bins: std::array::from_fn(|quarter| mean(&|s| s.bins[quarter])),
            heads: first.heads,
            nonfinite: spreads.iter().map(|s| s.nonfinite).sum(),
        })
    }
}

/// The spread of every run's head entropies; none for a run without attention records.
///
/// # Errors
/// Those of [`Reference::nats`].
pub fn spreads(runs: &[RunData], reference: Reference) -> Result<Vec<Option<Spread>>> {
    let grids: Vec<_> = runs.iter().map(RunData::entropies).collect();
    let observed = observed_max(grids.iter().flatten().map(Vec::as_slice));
    let spread = |(run, grid): (&RunData, &Option<Vec<Vec<f64>>>)| {
        let Some(grid) = grid else { return Ok(None) };
        let nats = reference.nats(observed, run.context)?;
        let heads = grid.iter().flatten();
        Ok(Some(Spread {
            reference: nats,
            bins: bins(grid, nats),
            heads: heads.clone().count(),
            nonfinite: heads.filter(|entropy| !entropy.is_finite()).count(),
        }))
    };
    runs.iter().zip(&grids).map(spread).collect()
}
