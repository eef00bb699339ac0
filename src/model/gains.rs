//! Learned lengths of the columns or rows of a matrix: `model.ffn_gains` and `model.head_gains`. See [`crate::ops::unit_scale`].

use crate::ops::unit_clip::Units;
use crate::tape::{DType, Declaration, Start, Tape, TensorId};
use std::cell::Cell;

/// The declared gains of a matrix.
pub(super) struct Gains {
    vector: TensorId,
    units: Units,
    /// What they are multiplied by.
    scale: f32,
    result: DType,
    /// The matrix that products read, once it is recorded: a pass records it once.
    recorded: Cell<Option<TensorId>>,
}

/// The factor of every vector of gains: √d.
pub(super) fn factor(width: usize) -> f64 {
    (width as f64).sqrt()
}

/// Declares with `declare` the gains of the matrix `name` in a model of that `width`: `count` of them, each of which starts at `start`.
pub(super) fn declare(
    name: &str,
    (count, start): (usize, f64),
    declare: impl FnOnce(&str, &[usize], Declaration) -> TensorId,
) -> TensorId {
    let stem = name.strip_suffix(".weight").unwrap_or(name);
    let vector = Declaration::new(Start::Constant(start)).undecayed().added();
    let vector = Declaration { gains_of: Some(name.to_owned()), ..vector };
    declare(&format!("{stem}.gains"), &[count], vector)
}

impl Gains {
    /// Those of the columns of a matrix in a model of that `width`.
    pub fn of_columns(vector: TensorId, width: usize, result: DType) -> Self {
        let scale = factor(width) as f32;
        Self { vector, units: Units::Columns, scale, result, recorded: Cell::new(None) }
    }

    /// The scaled `matrix`.
    pub fn apply(&self, tape: &mut Tape, matrix: TensorId) -> TensorId {
        self.recorded.get().unwrap_or_else(|| {
            let scaled = tape.unit_scale(matrix, self.vector, (self.units, self.scale), self.result);
            self.recorded.set(Some(scaled));
            scaled
        })
    }
}
