//! Norms of queries and keys: see [`crate::ops::qk_norm`].

use super::guided::guiding;
use crate::model::config::QkNorm;
use crate::model::site::Site;
use crate::ops::qk_norm::Gains;
use crate::ops::sphere::EPSILON;
use crate::tape::{Tape, TensorId};

/// The norm of the queries and keys of one attention, or nothing.
pub(super) struct Normed {
    kind: QkNorm,
    gains: Gains,
    epsilon: f32,
}

impl Normed {
    /// Declares the gains of queries and of keys, `[head]` each, or those of both, if the configuration has them.
    pub fn declare(site: &mut Site<'_>) -> Self {
        let (config, name) = (site.config, site.name("attention"));
        let width = (config.n_embd as f64).sqrt();
        let gains = match config.qk_norm {
            QkNorm::None | QkNorm::Plain => Gains::None,
            QkNorm::RmsNorm => Gains::Apart(["q_norm", "k_norm"].map(|part| {
                site.declare(&format!("{name}.{part}.weight"), &[config.head_dim()], guiding(1.0))
            })),
            // The vector starts at 1/√d and counts times √d, so that a step of the optimizer changes it by more. Attention divides
            // the scores of rows whose squares have mean one by √head: this is √head times the products of rows of length one.
            QkNorm::Unit => {
                let name = format!("{name}.qk_norm.weight");
                Gains::Shared(site.declare(&name, &[config.n_embd], guiding(width.recip())), width as f32)
            }
        };
        let epsilon = match config.qk_norm {
            // ε counts for the mean square here.
            QkNorm::Unit => EPSILON / config.head_dim() as f64,
            _ => config.layer_norm_epsilon,
        };
        Self { kind: config.qk_norm, gains, epsilon: epsilon as f32 }
    }

    /// The packed rows with normalized queries and keys, before positions rotate them if they do.
    pub fn before_positions(&self, tape: &mut Tape, qkv: TensorId, heads: usize) -> TensorId {
        match self.kind {
            QkNorm::None | QkNorm::Unit => qkv,
            QkNorm::RmsNorm | QkNorm::Plain => tape.qk_norm(qkv, heads, self.gains, self.epsilon),
        }
    }

    /// The same behind positions.
    pub fn behind_positions(&self, tape: &mut Tape, qkv: TensorId, heads: usize) -> TensorId {
        match self.kind {
            QkNorm::Unit => tape.qk_norm(qkv, heads, self.gains, self.epsilon),
            _ => qkv,
        }
    }
}
