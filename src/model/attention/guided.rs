//! The additions of entropy-guided training to a block.

use crate::tape::{Declaration, Start};

/// A parameter that starts at `start`. Weight decay does not apply to it, as in the code behind arXiv 2501.03489, and a
/// weight file may lack it.
pub(super) fn guiding(start: f64) -> Declaration {
    Declaration::new(Start::Constant(start)).undecayed().added()
}
