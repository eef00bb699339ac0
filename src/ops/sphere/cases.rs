//! The cases that compare steps on the sphere with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// One row and many, rows of one vector and of many, rows that fit an image and rows that do not; strengths of both signs; a gradient
/// that is overwritten, and one that is added to.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [[1, 4], [7, 20], [37, 132], [64, 512], [300, 16], [5, 768]];
    for dtype in [DType::F32, DType::F16] {
        for (at, shape) in shapes.into_iter().enumerate() {
            let mut case = CaseBuilder::new("sphere", format!("{shape:?} of {dtype:?}"), seed);
            if at % 2 == 1 {
                case.tape.overwrite_gradients();
            }
            let x = case.input("x", &shape, Fill::Normal(1.0));
            let y = case.input_of("y", &shape, dtype, Fill::Normal(2.0));
            let a = case.parameter("a", &[shape[1]], Fill::Normal(0.2));
            let z = case.tape.sphere(x, y, a, 1.5);
            // Past the op, so that what comes along there is added to dx.
            let past = (at % 2 == 0).then(|| case.tape.add(x, x));
            let seeded: Vec<_> = [z].into_iter().chain(past).collect();
            // Sums of up to 768 terms, two roots and quotients, which a driver may round by 2.5 units; each gradient is a difference of
            // two terms of similar size, twice one after the other.
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 2e-5 };
            cases.push(case.finish(&seeded, &[], bound));
        }
    }
    cases
}
