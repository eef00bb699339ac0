//! A gate on attention's output (arXiv 2505.06708): z ⊙ σ(a·W), where a are the normalized rows that queries, keys and values
//! are made of.
//!
//! W is a matrix of its own beside that of queries, keys and values, so that a model with a gate starts from the same
//! matrices as one without. Both read a; if a is f16, its gradient is the sum of two, and so is kept in f32.

use crate::model::config::AttentionGate;
use crate::model::site::{Linear, Matrix, Site};
use crate::tape::{DType, Tape, TensorId};

/// The gate's matrix, or nothing.
pub(super) struct Gate(Option<Linear>);

impl Gate {
    /// Declares the matrix [n_embd, gates] if attention has a gate.
    pub fn declare(site: &mut Site<'_>) -> Self {
        let config = site.config;
        let gates = match config.attention_gate {
            AttentionGate::None => return Self(None),
            AttentionGate::Head => config.n_head,
            AttentionGate::Element => config.n_embd,
        };
        let matrix = Matrix { added: true, ..Matrix::new(config.n_embd, gates) };
        Self(Some(site.linear("attention.gate", matrix)))
    }

    /// The matrix.
    pub fn linear(&self) -> Option<&Linear> {
        self.0.as_ref()
    }

    /// The gate's scores for the normalized `x`.
    pub fn open(&self, tape: &mut Tape, x: TensorId) -> Option<TensorId> {
        let matrix = self.0.as_ref()?;
        if tape.info(x).dtype == DType::F16 {
            tape.widen_gradient(x);
        }
        Some(matrix.apply(tape, x))
    }
}

/// The heads' values through the gate with those scores; unchanged without a gate.
pub(super) fn close(tape: &mut Tape, heads: TensorId, scores: Option<TensorId>) -> TensorId {
    scores.map_or(heads, |scores| tape.head_gate(heads, scores))
}
