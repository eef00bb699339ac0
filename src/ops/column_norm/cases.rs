//! The cases that compare norms of columns with the reference.

use super::{Rule, State};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// Widths of one, of primes, and of vec4s; row counts around a block's. In training, in its warm-up and after it; and outside of
/// training.
pub fn cases(seed: u64) -> Vec<Case> {
    let extents = [(1, 1), (3, 13), (7, 64), (33, 132), (131, 97), (300, 20), (65, 768)];
    let kinds = [
        (Rule::Power, Some([1.0, 0.25, 0.0, 0.0])),
        (Rule::Power, Some([0.0, 0.0, 0.0, 0.0])),
        (Rule::Power, None),
        (Rule::Unified, Some([1.0, 0.0, 1.0, 0.0])),
        (Rule::Unified, Some([0.0, 0.0, 2.0, 1.0])),
        (Rule::Unified, None),
    ];
    let all = extents.into_iter().flat_map(|extents| kinds.map(|kind| (extents, kind)));
    let all = all.flat_map(|of| [DType::F32, DType::F16].map(|result| (of, result)));
    all.map(|((extents, kind), result)| case(extents, kind, result, seed)).collect()
}

fn case(
    (rows, width): (usize, usize),
    (rule, schedule): (Rule, Option<[f32; 4]>),
    result: DType,
    seed: u64,
) -> Case {
    let kind = schedule.map_or("held".to_owned(), |schedule| format!("{schedule:?}"));
    let label = format!("[{rows}, {width}] to {result:?}, {rule:?} {kind}");
    let mut case = CaseBuilder::new("column_norm", label, seed);
    let x = case.input("x", &[rows, width], Fill::Around(0.3, 2.0));
    // Without a schedule there is no backward pass, and then these are constants.
    let vector = |case: &mut CaseBuilder, name: &str, fill| match schedule {
        Some(_) => case.parameter(name, &[width], fill),
        None => {
            let values = (0..width).map(|_| case.draw(fill)).collect();
            case.constant(name, &[width], DType::F32, values)
        }
    };
    let gamma = vector(&mut case, "gamma", Fill::Around(1.0, 0.3));
    let beta = vector(&mut case, "beta", Fill::Normal(0.5));
    let state = State {
        running: case.observation("running", &[width], 3.0),
        drift: case.observation("drift", &[width], 0.2),
        windows: (rule == Rule::Unified).then(|| {
            let squares = case.observation("window", &[super::rule::WINDOW, width], 2.0);
            [squares, case.observation("gradients", &[super::rule::WINDOW, width], 0.1)]
        }),
    };
    let given = schedule.map(|schedule| case.constant("schedule", &[4], DType::F32, schedule.to_vec()));
    let y = case.tape.column_norm(x, (gamma, beta), (rule, &state), given, 1e-5, result);
    // The errors of the sums are below 6e-8·√terms ≤ 2e-6 of their largest term; dx is a difference of two terms.
    let bound = if result == DType::F16 { HALF_BOUND } else { 8e-6 };
    match schedule {
        Some(_) => {
            // Past the norm, so that dx is added to what comes along there.
            let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
            let seeded: Vec<_> = [y].into_iter().chain(past).collect();
            case.finish(&seeded, &[], bound)
        }
        None => case.finish(&[], &[y], bound),
    }
}
