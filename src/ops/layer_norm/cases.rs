//! The cases that compare layer normalization with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// Widths of one, of primes, and of vec4s around a team's width; row counts around a block's; rows far from zero.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let plain = [
        (1, 1),
        (1, 5),
        (3, 13),
        (2, 4),
        (7, 64),
        (33, 132),
        (131, 97),
        (65, 768),
        (300, 20),
        (5, 64),
        (6, 64),
        (64, 768),
        (32, 36),
        (5, 20),
    ];
    for ((rows, width), mean) in plain.map(|shape| (shape, 0.3)).into_iter().chain([((9, 257), 50.0)]) {
        let label = format!("[{rows}, {width}], mean {mean}");
        let mut case = CaseBuilder::new("layer_norm", label, seed);
        let x = case.input("x", &[rows, width], Fill::Around(mean, 2.0));
        let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
        let beta = case.parameter("beta", &[width], Fill::Normal(0.5));
        let mut y = case.tape.layer_norm(x, (gamma, beta), 1e-5, DType::F32);
        if rows % 2 == 1 {
            // Past the norm, so that dx is added to what comes along there.
            y = case.tape.add(x, y);
        }
        // ε = 6e-8. Rounding x − μ costs ε·|x|/σ per element: 4ε here, 60ε if the mean is 50. The errors of the sums
        // are below ε·√terms ≤ 28ε of their largest term; dx is a difference of three terms of similar size.
        let bound = if mean > 1.0 { 2e-5 } else { 5e-6 };
        cases.push(case.finish(&[y], &[], bound));
    }
    for (rows, width) in [
        (1, 5),
        (7, 64),
        (33, 132),
        (131, 97),
        (65, 768),
        (4, 20),
        (6, 64),
        (32, 36),
        (7, 128),
        (66, 128),
        (64, 768),
    ] {
        let mut case = CaseBuilder::new("layer_norm", format!("f16 [{rows}, {width}]"), seed);
        let x = case.input("x", &[rows, width], Fill::Around(0.3, 2.0));
        let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
        let beta = case.parameter("beta", &[width], Fill::Normal(0.5));
        let y = case.tape.layer_norm(x, (gamma, beta), 1e-5, DType::F16);
        // Past the norm, so that dx is added to what comes along there.
        let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
        let seeded: Vec<_> = [y].into_iter().chain(past).collect();
        cases.push(case.finish(&seeded, &[], HALF_BOUND));
    }
    let extents = [(1, 1), (1, 5), (3, 13), (4, 20), (5, 20), (6, 64), (7, 64), (7, 128), (33, 132)];
    let extents =
        extents.into_iter().chain([(32, 36), (66, 128), (131, 97), (64, 768), (65, 768), (300, 20)]);
    // Open, half closed, closed.
    for ((rows, width), gate) in extents.zip([1.0, 0.4, 0.0].into_iter().cycle()) {
        for result in [DType::F32, DType::F16] {
            let label = format!("[{rows}, {width}] to {result:?}, gate {gate}");
            let mut case = CaseBuilder::new("layer_norm", label, seed);
            let x = case.input("x", &[rows, width], Fill::Around(0.3, 2.0));
            let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
            let beta = case.parameter("beta", &[width], Fill::Normal(0.5));
            let taper = case.constant("taper", &[2], DType::F32, vec![gate, 0.7]);
            let (y, _) = case.tape.tapered_layer_norm(x, (gamma, beta), taper, 1e-5, result);
            // Past the norm, so that dx is added to what comes along there.
            let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
            let seeded: Vec<_> = [y].into_iter().chain(past).collect();
            // As above: a gate adds one product to each term.
            let bound = if result == DType::F16 { HALF_BOUND } else { 5e-6 };
            cases.push(case.finish(&seeded, &[], bound));
        }
    }
    cases
}
