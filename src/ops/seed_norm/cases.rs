//! The cases that compare SeeDNorm with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// Widths of one, of primes, and of vec4s around a team's width; row counts around a block's.
pub fn cases(seed: u64) -> Vec<Case> {
    let f32s = [(1, 1), (3, 13), (33, 132), (131, 97), (65, 768), (300, 20), (7, 64), (6, 64), (5, 20)];
    let f16s = [(1, 5), (131, 97), (6, 13), (4, 20), (5, 20), (66, 128), (7, 128), (64, 768)];
    let f32s = f32s.map(|extents| (extents, DType::F32));
    let f16s = f16s.map(|extents| (extents, DType::F16));
    f32s.into_iter().chain(f16s).map(|(extents, result)| case(extents, result, seed)).collect()
}

fn case((rows, width): (usize, usize), result: DType, seed: u64) -> Case {
    let mut case = CaseBuilder::new("seed_norm", format!("[{rows}, {width}] to {result:?}"), seed);
    let x = case.input("x", &[rows, width], Fill::Around(0.3, 2.0));
    let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
    let alpha = case.parameter("alpha", &[width], Fill::Around(1.0, 0.3));
    // x·b is about a half, so that tanh neither is its argument nor saturates.
    let beta = case.parameter("b", &[width], Fill::Normal(0.25 / (width as f64).sqrt()));
    let y = case.tape.seed_norm(x, [gamma, alpha, beta], 1e-6, result);
    // Past the norm, so that dx is added to what comes along there.
    let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
    let seeded: Vec<_> = [y].into_iter().chain(past).collect();
    // The errors of the sums are below 6e-8·√terms ≤ 2e-6 of their largest term; dx is a sum of three terms.
    let bound = if result == DType::F16 { HALF_BOUND } else { 6e-6 };
    case.finish(&seeded, &[], bound)
}
