//! The cases that compare bounded functions with the reference.

use super::functions::NormFunction;
use super::learned::Learned;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::DType;

/// Points where some function or its slope has a kink: there central differences would see both sides. The clips of
/// ln(1 + u²) and ln(1 + |u|) are at √(e − 1) and e − 1.
const KINKS: [f32; 5] = [0.0, 1.0, 1.310_832_5, std::f32::consts::FRAC_PI_2, 1.718_281_8];

/// How far from a kink every u stays.
const MARGIN: f32 = 0.04;

/// Which of α and s are learned.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scalars {
    None,
    Alpha,
    Both,
    /// b, and α = 1/√b.
    Inverse,
}

/// Every function at sizes around a vector, a block of rows and an image; those that a norm fixes at all of them, with the
/// scalars that this norm learns.
pub fn cases(seed: u64) -> Vec<Case> {
    let norms = [
        (NormFunction::TANH, Scalars::Alpha),
        (NormFunction::TANH, Scalars::Both),
        (NormFunction::ERF, Scalars::Both),
        (NormFunction::LINEAR_CLIP, Scalars::None),
        (NormFunction::ISRU, Scalars::Inverse),
    ];
    let all = [
        ((1, 1), DType::F32),
        ((131, 97), DType::F32),
        ((37, 132), DType::F32),
        ((300, 20), DType::F32),
        ((65, 64), DType::F32),
        ((64, 768), DType::F32),
        ((37, 131), DType::F16),
        ((4, 13), DType::F16),
        ((3, 20), DType::F16),
        ((40, 20), DType::F16),
        ((65, 128), DType::F16),
        ((64, 768), DType::F16),
    ];
    let few =
        [((300, 20), DType::F32), ((9, 7), DType::F32), ((65, 64), DType::F32), ((65, 128), DType::F16)];
    let mut cases = Vec::new();
    for (function, scalars) in norms {
        cases.extend(all.map(|(extents, result)| case(function, extents, result, scalars, seed)));
    }
    for function in NormFunction::all()
        .filter(|function| function == &NormFunction::ISRU || norms.iter().all(|(norm, _)| norm != function))
    {
        cases.extend(few.map(|(extents, result)| case(function, extents, result, Scalars::Both, seed)));
    }
    cases
}

fn case(
    function: NormFunction,
    (rows, width): (usize, usize),
    result: DType,
    scalars: Scalars,
    seed: u64,
) -> Case {
    let label = format!("{function} [{rows}, {width}] to {result:?}, scalars {scalars:?}");
    let mut case = CaseBuilder::new("bounded", label, seed);
    let x = case.input("x", &[rows, width], Fill::Normal(1.2));
    let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
    let beta = case.parameter("beta", &[width], Fill::Normal(0.5));
    let alpha = (scalars != Scalars::None).then(|| case.parameter("alpha", &[1], Fill::Normal(1.0)));
    let shift = (scalars == Scalars::Both).then(|| case.parameter("shift", &[1], Fill::Normal(1.0)));
    let (scale, offset) = (if alpha.is_some() { 0.6 } else { 1.0 }, if shift.is_some() { 0.15 } else { 0.0 });
    let given = if scalars == Scalars::Inverse { 1.0 / (scale * scale) } else { scale };
    for (scalar, value) in alpha.map(|alpha| (alpha, given)).into_iter().chain(shift.map(|s| (s, offset))) {
        case.set(scalar, vec![value]);
    }
    // x for which u is as it was drawn, but far from kinks; some where exponentials vanish.
    let u = |(i, &u): (usize, &f32)| match i % 97 {
        40 => 12.5_f32.copysign(u),
        41 => 150.0_f32.copysign(u),
        _ => {
            KINKS.into_iter().fold(
                u.abs(),
                |u, kink| {
                    if (u - kink).abs() < MARGIN { kink + MARGIN } else { u }
                },
            ) * u.signum()
        }
    };
    let values = case.values(x).iter().enumerate().map(|at| (u(at) - offset) / scale).collect();
    case.set(x, values);
    let learned = Learned { gamma, beta, alpha, shift };
    let y = match scalars {
        Scalars::Inverse => case.tape.dyisru(x, learned, result),
        Scalars::None | Scalars::Alpha | Scalars::Both => case.tape.bounded(x, function, learned, result),
    };
    // Past the norm, so that dx is added to what comes along there.
    let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
    let seeded: Vec<_> = [y].into_iter().chain(past).collect();
    // A few roundings of a term; an exponential may be off by 3 + 2|u| units, but is small where |u| is large. Rounding u
    // costs a slope of up to 1/(6·u^(4/3)) ≈ 12 times 6e-8 at the least u, against a slope of 2 there.
    let bound = if result == DType::F16 { HALF_BOUND } else { 5e-6 };
    let mut case = case.finish(&seeded, &[], bound);
    // A sum of many terms of both signs can be near zero by chance. A start value of twice the terms' scale,
    // √49,152·|dy·γ·f′·x| ≈ 300, keeps the magnitude up.
    for scalar in alpha.into_iter().chain(shift) {
        let gradient = case.tape.known_gradient(scalar).expect("α and s have gradients");
        for (tensor, values) in &mut case.values {
            if *tensor == gradient {
                values.fill(600.0);
            }
        }
    }
    case
}
