//! The kinds of RMSNorm.

/// Which RMSNorm it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub tapered: bool,
    pub compressed: bool,
}

impl Form {
    /// The sum of a row, which the element that it leaves out is minus of, and the row's width with that; without one, zero and
    /// the width.
    pub(super) fn left_out(self, x: &[f64]) -> (f64, f64) {
        match self.compressed {
            true => (x.iter().sum(), (x.len() + 1) as f64),
            false => (0.0, x.len() as f64),
        }
    }
}
