//! What a bounded norm learns.

use crate::tape::TensorId;

/// The learned tensors of one place in a model.
#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// `[d]`
    pub gamma: TensorId,
    /// `[d]`
    pub beta: TensorId,
    /// `[1]`
    pub alpha: Option<TensorId>,
    /// `[1]`, only beside α
    pub shift: Option<TensorId>,
}
