//! A norm of rows, with its learned vectors.

use super::site::Site;
use crate::ops::norms::Norm;
use crate::tape::{DType, Declaration, Start, Tape, TensorId};

/// A declared norm.
pub(super) struct Normalize {
    norm: Norm,
    vectors: Vec<TensorId>,
    epsilon: f32,
    result: DType,
}

impl Normalize {
    /// Declares the vectors of the norm `name`.
    pub fn declare(site: &mut Site<'_>, norm: Norm, name: &str) -> Self {
        let width = site.config.n_embd;
        let vector = |&(part, start): &(&str, f64)| {
            let vector = Declaration::new(Start::Constant(start)).undecayed();
            site.declare(&format!("{name}.{part}"), &[width], vector)
        };
        let vectors = norm.parameters.iter().map(vector).collect();
        let epsilon = site.config.layer_norm_epsilon as f32;
        Self { norm, vectors, epsilon, result: site.precision.operands() }
    }

    /// Records the norm of `x`; nothing for the identity.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        self.norm.record.map_or(x, |record| record(tape, x, &self.vectors, self.epsilon, self.result))
    }
}
