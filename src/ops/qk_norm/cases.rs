//! The cases that compare the norm of queries and keys with the reference.

use super::gains::Gains;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// One row and many, heads of one vector and of several, rows that fit an image; with gains of queries and of keys, with one of both, and without.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [(1, 1, 4), (7, 3, 20), (33, 2, 32), (40, 1, 64), (300, 4, 16), (40, 1, 128)];
    for dtype in [DType::F32, DType::F16] {
        for (at, (rows, heads, width)) in shapes.into_iter().enumerate() {
            for gains in ["none", "apart", "shared"] {
                let label = format!("{rows} rows of {heads} heads of {width}, gains {gains}, {dtype:?}");
                let mut case = CaseBuilder::new("qk_norm", label, seed);
                let shape = [rows, 3 * heads * width];
                let qkv =
                    case.input_of("qkv", &shape, dtype, Fill::Normal(if at % 2 == 0 { 0.3 } else { 2.0 }));
                let mut gain =
                    |name: &str, width: usize| case.parameter(name, &[width], Fill::Around(1.0, 0.3));
                let gains = match gains {
                    "none" => Gains::None,
                    "apart" => Gains::Apart(["query gain", "key gain"].map(|name| gain(name, width))),
                    _ => Gains::Shared(gain("gain", heads * width), 1.5),
                };
                let y = case.tape.qk_norm(qkv, heads, gains, 1e-5);
                // Sums of up to 128 squares, a root and a division, which a driver may round by 2.5 units; the gains' gradients
                // are sums of rows·heads terms in two stages. dx is a difference of two terms of similar size.
                let bound = if dtype == DType::F16 { HALF_BOUND } else { 5e-6 };
                cases.push(case.finish(&[y], &[], bound));
            }
        }
    }
    cases
}
