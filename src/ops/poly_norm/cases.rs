//! The cases that compare the normalized polynomial with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// One row and many, small rows and large ones, rows that fit an image and rows that do not.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, width, spread) in
            [(1, 4, 1.0), (37, 36, 0.3), (130, 20, 2.0), (40, 128, 1.0), (5, 512, 1.0)]
        {
            let label = format!("[{rows}, {width}] of {dtype:?}, x ~ {spread}");
            let mut case = CaseBuilder::new("poly_norm", label, seed);
            let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(spread));
            let w = case.parameter("w", &[3], Fill::Around(0.33, 0.1));
            let b = case.parameter("b", &[1], Fill::Normal(0.1));
            let y = case.tape.poly_norm(x, w, b);
            // Sixth powers have seven roundings; dx is a sum of three differences of two terms of similar size. The parameters'
            // gradients are sums of up to 5,000 terms of both signs.
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 1e-5 };
            let mut case = case.finish(&[y], &[], bound);
            let gradients = [w, b].map(|of| case.tape.known_gradient(of));
            for (tensor, values) in &mut case.values {
                // A start value of the terms' scale keeps the magnitude up, as sums of both signs can be near zero.
                if gradients.contains(&Some(*tensor)) {
                    values.fill(300.0);
                }
            }
            cases.push(case);
        }
    }
    cases
}
