//! The additions to a block that are vectors and single numbers: of entropy-guided training, gains, sinks.

use crate::tape::{Declaration, Start};

/// A parameter that starts at `start` and that other programs train the model without, so that a weight file may lack it. Weight
/// decay does not apply to it, as in the code behind arXiv 2501.03489.
pub(super) fn guiding(start: f64) -> Declaration {
    Declaration::new(Start::Constant(start)).undecayed().added()
}
