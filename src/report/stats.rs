//! The reference M that every share of heads depends on.

use std::fmt;

use crate::fault::{Fault, Kind, Result};
use crate::observe::entropy::causal_ceiling;

/// What counts as the largest possible entropy M. The paper uses the largest head entropy seen over the models compared.
/// The ceiling of a causal mask is close to that, ln T is far above it.
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
    /// M in nats for one run: `observed` is the largest entropy over all runs compared, `n_positions` the
    /// context length T of this run.
    ///
    /// # Errors
    /// `Config` when the reference needs T and the run's configuration does not contain it.
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
