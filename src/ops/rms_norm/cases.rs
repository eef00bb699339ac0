//! The cases that compare RMSNorm with the reference.

use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// Widths of one, of primes, and of vec4s around a team's width; row counts around a block's.
pub fn cases(seed: u64) -> Vec<Case> {
    let f32s = [
        (1, 1),
        (1, 5),
        (3, 13),
        (7, 64),
        (33, 132),
        (131, 97),
        (65, 768),
        (300, 20),
        (6, 64),
        (64, 768),
        (5, 20),
    ];
    let f16s =
        [(1, 5), (7, 64), (131, 97), (65, 768), (4, 20), (5, 20), (32, 36), (66, 128), (7, 128), (64, 768)];
    let f32s = f32s.map(|extents| (extents, DType::F32));
    let f16s = f16s.map(|extents| (extents, DType::F16));
    let all = f32s.into_iter().chain(f16s);
    let kinds = [Kind::Plain, Kind::Compressed, Kind::Tapered];
    all.flat_map(|(extents, result)| kinds.map(|kind| case(extents, result, kind, seed))).collect()
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Compressed,
    Tapered,
}

fn case((rows, width): (usize, usize), result: DType, kind: Kind, seed: u64) -> Case {
    let mut case = CaseBuilder::new("rms_norm", format!("[{rows}, {width}] to {result:?}, {kind:?}"), seed);
    let x = case.input("x", &[rows, width], Fill::Around(0.3, 2.0));
    let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
    let y = match kind {
        Kind::Plain => case.tape.rms_norm(x, gamma, 1e-6, result),
        Kind::Compressed => case.tape.crms_norm(x, gamma, 1e-6, result),
        Kind::Tapered => {
            let taper = case.constant("taper", &[2], DType::F32, vec![0.4, 0.7]);
            case.tape.tapered_rms_norm(x, gamma, taper, 1e-6, result).0
        }
    };
    // Past the norm, so that dx is added to what comes along there.
    let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
    let seeded: Vec<_> = [y].into_iter().chain(past).collect();
    // The errors of the sums are below 6e-8·√terms ≤ 2e-6 of their largest term; dx is a difference of two terms.
    let bound = if result == DType::F16 { HALF_BOUND } else { 5e-6 };
    case.finish(&seeded, &[], bound)
}
