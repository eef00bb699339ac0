//! The gains of the norm.

use crate::tape::TensorId;

/// What normalized queries and keys are multiplied by.
#[derive(Clone, Copy, Debug)]
pub enum Gains {
    None,
    /// Those of queries and of keys `[w]`, the same for each head.
    Apart([TensorId; 2]),
    /// One for each column of all heads `[H·w]`, which queries and keys share, and what it is multiplied by.
    Shared(TensorId, f32),
}
