//! The table that a head reads.

use crate::ops::unit_clip::Units;
use crate::tape::{Adjoint, DType, Tape, TensorId};

/// A row for each token, and what the rows are multiplied by first.
#[derive(Clone, Copy, Debug)]
pub struct Table {
    /// [V, d]; f32 where there are gains.
    pub rows: TensorId,
    /// Learned gains `[V]`, and what they count times.
    pub gains: Option<(TensorId, f32)>,
    /// The element type of the rows times their gains.
    pub result: DType,
}

/// A table without gains.
impl From<TensorId> for Table {
    fn from(rows: TensorId) -> Self {
        Self { rows, gains: None, result: DType::F32 }
    }
}

impl Table {
    /// The element type that products read.
    pub fn element(&self, tape: &Tape) -> DType {
        if self.gains.is_some() { self.result } else { tape.info(self.rows).dtype }
    }

    /// Rows of the table as products read them.
    pub fn piece(&self, tape: &mut Tape, first: usize, rows: usize) -> TensorId {
        let slice = tape.slice_rows(self.rows, first, rows);
        let Some((gains, scale)) = self.gains else { return slice };
        let gains = tape.slice_rows(gains, first, rows);
        tape.unit_scale(slice, gains, (Units::Rows, scale), self.result)
    }

    /// Records what the gradient of such a piece adds to those of the rows and the gains.
    ///
    /// # Panics
    /// If there are no gains.
    pub(super) fn add_gradients(
        &self,
        adjoint: &mut Adjoint<'_>,
        (first, rows): (usize, usize),
        gradient: TensorId,
    ) {
        let (gains, scale) = self.gains.expect("gains");
        let [slice, gains] = [self.rows, gains].map(|of| adjoint.tape.slice_rows(of, first, rows));
        let outputs = [gains, slice].map(|of| adjoint.begin(of));
        adjoint.tape.unit_scale_backward([slice, gradient, gains], (Units::Rows, scale), outputs);
    }
}
