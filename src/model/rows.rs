//! The rows that a block works on: those of training, or those of generation.

use super::pass::Pass;
use crate::tape::TensorId;

/// Which rows a block works on.
pub(super) enum Rows<'a> {
    /// Whole sequences, as training and evaluation have them.
    Sequences(&'a Pass),
    /// Single rows that look at a cache of those before: generation.
    Cached(&'a Cached),
}

/// What the blocks of such a pass share.
pub(super) struct Cached {
    /// u32 [rows].
    pub positions: TensorId,
    /// Rows of a cache.
    pub context: usize,
}
