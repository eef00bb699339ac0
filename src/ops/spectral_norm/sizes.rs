//! The sizes of the ops.

use crate::tape::Shape;

/// Keeps a matrix of zeros from being divided by zero.
pub(super) const TINY: f64 = 1e-12;

/// The sizes of an op.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sizes {
    pub rows: usize,
    pub columns: usize,
    pub parts: usize,
}

impl Sizes {
    /// From the shapes of W and of a tensor with one row for each matrix.
    pub fn of(w: &Shape, parts: usize) -> Self {
        let (rows, columns) = w.as_matrix();
        assert!(columns.is_multiple_of(parts), "{parts} matrices in {columns} columns");
        Self { rows, columns, parts }
    }

    /// Columns of one matrix.
    pub fn width(self) -> usize {
        self.columns / self.parts
    }
}
