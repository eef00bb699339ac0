//! The op and its extents, as plain data.

use crate::tape::DType;

/// Which operand is stored transposed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Layout {
    /// A `[M, K]`, B `[K, N]`.
    NN,
    /// A `[M, K]`, B `[N, K]`: C = A · Bᵀ.
    NT,
    /// A `[K, M]`, B `[K, N]`: C = Aᵀ · B.
    TN,
}

/// The op; see [`super`]. Inputs: A, B, then the bias and the addend, if any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MatMul {
    pub layout: Layout,
    pub bias: bool,
    pub addend: bool,
    /// Whether C is added to instead of overwritten.
    pub accumulate: bool,
}

/// Extents of one product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizes {
    pub m: usize,
    pub n: usize,
    pub k: usize,
    /// Extents of A and B as stored.
    pub a_rows: usize,
    pub a_columns: usize,
    pub b_rows: usize,
    pub b_columns: usize,
    /// Columns that have a bias.
    pub bias_columns: usize,
    /// The element type of A and B.
    pub operands: DType,
    /// The element type of C.
    pub result: DType,
}

impl MatMul {
    /// A plain product of one layout.
    pub fn new(layout: Layout) -> Self {
        Self { layout, bias: false, addend: false, accumulate: false }
    }
}
