//! The cases of the ops.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{DType, TensorId};

/// Sizes around a vector, a block of rows and a team; one matrix and three; a gradient that is overwritten, and one that is added to;
/// Ŵ in both types. Power iterations, under an open and a closed verdict and under none.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let sizes = [(1, 1, 1), (5, 7, 1), (37, 131, 1), (200, 40, 1), (24, 24, 3), (130, 64, 3)];
    let f32s = sizes.into_iter().enumerate().map(|(at, sizes)| (sizes, DType::F32, at % 2 == 1));
    let f16s = [((37, 131, 1), DType::F16, true), ((24, 24, 3), DType::F16, false)];
    for ((rows, width, parts), dtype, overwrites) in f32s.chain(f16s) {
        let label = format!("{parts} of {rows}x{width} {dtype:?}, overwrites {overwrites}");
        let mut case = CaseBuilder::new("spectral_norm", label, seed);
        if overwrites {
            case.tape.overwrite_gradients();
        }
        let w = case.parameter("w", &[rows, parts * width], Fill::Normal(1.0));
        let gamma = case.parameter("gamma", &[parts], Fill::Around(1.5, 0.2));
        let u = singular(&mut case, parts, rows, false);
        let (scaled, numbers) = case.tape.spectral_norm(w, gamma, u, dtype);
        // Sums of a few hundred products of both signs, in blocks; roots and quotients, which a driver may round by 2.5 units.
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 1e-5 };
        cases.push(case.finish(&[scaled], &[numbers], bound));
    }
    for ((rows, width, parts), open) in [
        ((1, 1, 1), None),
        ((5, 7, 1), Some(1.0)),
        ((200, 40, 1), None),
        ((130, 64, 3), Some(1.0)),
        ((24, 24, 3), Some(0.0)),
    ] {
        let label = format!("iteration of {parts} of {rows}x{width}, open {open:?}");
        let mut case = CaseBuilder::new("spectral_norm", label, seed);
        let w = case.input("w", &[rows, parts * width], Fill::Normal(1.0));
        let u = singular(&mut case, parts, rows, true);
        let verdict = open.map(|open| case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]));
        case.tape.power_iteration(w, u, verdict);
        // The same sums, twice one after the other.
        cases.push(case.finish(&[], &[], 2e-5));
    }
    cases
}

/// Vectors of length one: a constant, or a state that is compared.
fn singular(case: &mut CaseBuilder, parts: usize, rows: usize, state: bool) -> TensorId {
    let mut values: Vec<f32> = (0..parts * rows).map(|_| case.draw(Fill::Normal(1.0))).collect();
    for vector in values.chunks_exact_mut(rows) {
        let length = vector.iter().map(|v| v * v).sum::<f32>().sqrt();
        vector.iter_mut().for_each(|v| *v /= length);
    }
    if !state {
        return case.constant("u", &[parts, rows], DType::F32, values);
    }
    let u = case.observation("u", &[parts, rows], 0.0);
    case.set(u, values);
    u
}
