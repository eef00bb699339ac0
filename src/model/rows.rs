//! The rows that a block works on, in training or in generation.

use super::pass::Pass;
use crate::tape::TensorId;

/// Which rows a block works on.
pub(super) enum Rows<'a> {
    /// Whole sequences: training and evaluation.
    Sequences(&'a Pass),
    /// Single rows that attend to a cache of earlier rows: generation.
    Cached(&'a Cached),
}

impl Rows<'_> {
    /// Whether the layers are observed.
    pub fn observes_layers(&self) -> bool {
        match self {
            Self::Sequences(pass) => pass.layers,
            Self::Cached(_) => false,
        }
    }

    /// Whether units of the feed-forward networks are left out.
    pub fn truncates_units(&self) -> bool {
        match self {
            Self::Sequences(pass) => pass.truncated,
            Self::Cached(_) => false,
        }
    }

    /// Whether the moments of the feed-forward networks' units are summed.
    pub fn sums_moments(&self) -> bool {
        match self {
            Self::Sequences(pass) => pass.spectrum,
            Self::Cached(_) => false,
        }
    }
}

/// The inputs that the blocks of a generation pass share.
pub(super) struct Cached {
    /// u32 [rows].
    pub positions: TensorId,
    /// Rows of a cache.
    pub context: usize,
}
