//! RMSNorm of queries and keys: see [`crate::ops::qk_norm`].

use super::guided::guiding;
use crate::model::config::QkNorm;
use crate::model::site::Site;
use crate::tape::{Tape, TensorId};

/// The norm of the queries and keys of one attention, or nothing.
pub(super) struct Normed(Option<(Option<[TensorId; 2]>, f32)>);

impl Normed {
    /// Declares the gains of queries and of keys, `[head]` each, if the configuration has them.
    pub fn declare(site: &mut Site<'_>) -> Self {
        let config = site.config;
        let name = site.name("attention");
        let gains = match config.qk_norm {
            QkNorm::None => return Self(None),
            QkNorm::Plain => None,
            QkNorm::RmsNorm => Some(["q_norm", "k_norm"].map(|part| {
                site.declare(&format!("{name}.{part}.weight"), &[config.head_dim()], guiding(1.0))
            })),
        };
        Self(Some((gains, config.layer_norm_epsilon as f32)))
    }

    /// The packed rows with normalized queries and keys.
    pub fn apply(&self, tape: &mut Tape, qkv: TensorId, heads: usize) -> TensorId {
        match self.0 {
            Some((gains, epsilon)) => tape.qk_norm(qkv, heads, gains, epsilon),
            None => qkv,
        }
    }
}
