//! Queries, keys and values: the columns of one matrix, or three matrices, of which those of keys and values may have fewer heads.

use crate::model::family::Projections;
use crate::model::site::{Linear, Matrix, Site};
use crate::ops::packed::Part;
use crate::tape::{DType, Tape, TensorId};

/// The declared matrices.
pub(super) enum Projection {
    Packed(Linear),
    Apart(Box<[Linear; 3]>),
}

impl Projection {
    pub fn declare(site: &mut Site<'_>) -> Self {
        let config = site.config;
        let (width, heads, shared) = (config.n_embd, config.n_head, config.key_columns());
        match config.family.projections {
            Projections::Packed => {
                let parts = Part::ALL.len();
                let matrix = Matrix { heads: Some(heads), parts, ..Matrix::first(width, 3 * width) };
                Self::Packed(site.linear("attention.qkv", matrix))
            }
            Projections::Apart => {
                let keyed = |to| Matrix { keyed: true, ..Matrix::first(width, to) };
                Self::Apart(Box::new([
                    site.linear("attention.q", keyed(width)),
                    site.linear("attention.k", keyed(shared)),
                    site.linear("attention.v", Matrix::first(width, shared)),
                ]))
            }
        }
    }

    /// The matrices.
    pub fn linears(&self) -> &[Linear] {
        match self {
            Self::Packed(matrix) => std::slice::from_ref(matrix),
            Self::Apart(matrices) => &**matrices,
        }
    }

    /// The one matrix, if there is one.
    pub fn packed(&self) -> Option<&Linear> {
        match self {
            Self::Packed(matrix) => Some(matrix),
            Self::Apart(_) => None,
        }
    }

    /// The packed rows q | k | v of the normalized `x`, with a key and a value for each of the `heads`. If values are those of
    /// other rows, a packed matrix multiplies both, and half of each product is taken.
    pub fn apply(
        &self,
        tape: &mut Tape,
        (x, values): (TensorId, Option<TensorId>),
        heads: usize,
    ) -> TensorId {
        match self {
            Self::Packed(matrix) => {
                let packed = matrix.apply(tape, x);
                let Some(values) = values else { return packed };
                let of_values = matrix.apply(tape, values);
                tape.splice(packed, of_values)
            }
            Self::Apart(matrices) => {
                // The gradient of rows that several products read is a sum, which is kept in f32.
                if tape.info(x).dtype == DType::F16 {
                    tape.widen_gradient(x);
                }
                let [q, k, v] = &**matrices;
                let parts = [(q, x), (k, x), (v, values.unwrap_or(x))];
                let parts = parts.map(|(matrix, x)| matrix.apply(tape, x));
                tape.grouped_heads(parts, heads)
            }
        }
    }
}
