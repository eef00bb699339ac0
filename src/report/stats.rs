//! How entropies are spread over the heads, and the reference M that every share depends on.

use std::fmt;

use super::run::RunData;
use crate::fault::{Fault, Kind, Result};

/// What the largest possible entropy M is taken to be. The paper bins by the largest head entropy seen over
/// the models compared; the ceiling of a causal mask lies next to it, ln T far above.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
#[value(rename_all = "snake_case")]
pub enum Reference {
    /// The largest finite head entropy over all runs compared: the paper's M.
    #[default]
    ObservedMax,
    /// Uniform attention under a causal mask, (1/T) Σ ln i.
    CausalCeiling,
    /// Uniform attention without a mask, ln T.
    LogContext,
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ObservedMax => "largest head entropy observed in these runs",
            Self::CausalCeiling => "causal ceiling (1/T) Σ ln i",
            Self::LogContext => "ln T",
        })
    }
}

impl Reference {
    /// The reference of the first run whose configuration names one, else the default.
    pub fn of(runs: &[RunData]) -> Self {
        runs.iter().find_map(|run| run.reference).unwrap_or_default()
    }

    /// M in nats for one run: `observed` is the largest entropy over all runs compared, `n_positions` the
    /// context length T of this run.
    ///
    /// # Errors
    /// `Config` when the reference needs T and the run's configuration does not tell it.
    pub fn nats(self, observed: f64, n_positions: Option<usize>) -> Result<f64> {
        if self == Self::ObservedMax {
            return Ok(observed);
        }
        let context = n_positions.ok_or_else(|| {
            Fault::new(Kind::Config, format!("the reference `{self}` needs the context length T"))
                .at("config.toml, key model.n_positions")
                .found("no such key")
                .remedy("choose the reference observed_max")
        })?;
        Ok(if self == Self::CausalCeiling { causal_ceiling(context) } else { (context as f64).ln() })
    }
}

/// Mean entropy in nats of uniform attention over the visible positions: (1/T) Σ_{i=1..T} ln i, which is ln(T!)/T.
pub fn causal_ceiling(context: usize) -> f64 {
    // A file may name any length, so nothing is summed up.
    libm::lgamma(context as f64 + 1.0) / context.max(1) as f64
}

/// The largest finite entropy of all grids `[layer][head]`, 0 when there is none.
pub fn observed_max<'a>(grids: impl IntoIterator<Item = &'a [Vec<f64>]>) -> f64 {
    let finite = grids.into_iter().flatten().flatten().copied().filter(|entropy| entropy.is_finite());
    finite.fold(0.0, f64::max)
}

/// Share of the heads of a grid `[layer][head]` in [0, M/4), [M/4, M/2), [M/2, 3M/4) and [3M/4, M], of all heads.
///
/// The last bin also takes what rounding put above M. A non-finite entropy lies in no bin, so the shares then
/// sum to less than 1. With M = 0 every head has collapsed.
pub fn bins(entropies: &[Vec<f64>], reference: f64) -> [f64; 4] {
    let mut counts = [0usize; 4];
    let mut heads = 0usize;
    for &entropy in entropies.iter().flatten() {
        heads += 1;
        if entropy.is_finite() {
            let quarter = if reference > 0.0 { entropy / reference * 4.0 } else { 0.0 };
            counts[(quarter.max(0.0) as usize).min(3)] += 1;
        }
    }
    counts.map(|count| count as f64 / heads.max(1) as f64)
}
