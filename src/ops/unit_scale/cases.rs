//! The cases that compare scaled matrices with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::ops::unit_clip::Units;
use crate::tape::DType;

/// Rows and columns around a team's width; Ŵ in both types; gradients that are overwritten, and ones that are added to.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [[1, 4], [37, 20], [64, 192], [131, 36], [7, 300], [300, 5]];
    for units in [Units::Rows, Units::Columns] {
        for (at, shape) in shapes.into_iter().enumerate() {
            for dtype in [DType::F32, DType::F16] {
                let label = format!("{units:?} of {shape:?} to {dtype:?}");
                let mut case = CaseBuilder::new("unit_scale", label, seed);
                if at % 2 == 1 {
                    case.tape.overwrite_gradients();
                }
                let w = case.parameter("w", &shape, Fill::Normal(1.0));
                let count = if units == Units::Rows { shape[0] } else { shape[1] };
                let s = case.parameter("s", &[count], Fill::Around(1.0, 0.3));
                let scaled = case.tape.unit_scale(w, s, (units, 1.5), dtype);
                // Sums of up to 300 products of both signs, one after the other.
                let bound = if dtype == DType::F16 { HALF_BOUND } else { 1e-5 };
                cases.push(case.finish(&[scaled], &[], bound));
            }
        }
    }
    cases
}
