//! The cases that compare BHyT with the reference.

use super::site::First;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{DType, TensorId};

/// First sites alone, and both sites of a block with something between them; widths of one, of primes, and of vec4s around a
/// team's width.
pub fn cases(seed: u64) -> Vec<Case> {
    let shapes = [(1, 1), (3, 13), (131, 97), (6, 20), (33, 132), (7, 64), (66, 64), (65, 768)];
    let halves = [(3, 13), (4, 13), (4, 20), (33, 20), (66, 128), (7, 128), (65, 768)];
    let f32s = shapes.map(|extents| (extents, DType::F32));
    let f16s = halves.map(|extents| (extents, DType::F16));
    let all = f32s.into_iter().chain(f16s);
    all.flat_map(|(extents, result)| [false, true].map(|both| case(extents, result, both, seed))).collect()
}

fn case((rows, width): (usize, usize), result: DType, both: bool, seed: u64) -> Case {
    let label = format!("[{rows}, {width}] to {result:?}, both sites {both}");
    let mut case = CaseBuilder::new("bhyt", label, seed);
    let x = case.input("x", &[rows, width], Fill::Normal(1.5));
    let number = |case: &mut CaseBuilder, name: &str, value: f32| {
        let parameter = case.parameter(name, &[1], Fill::Normal(1.0));
        case.set(parameter, vec![value]);
        parameter
    };
    let gamma = case.parameter("gamma", &[width], Fill::Around(1.0, 0.3));
    let lambda = number(&mut case, "lambda", 2.2);
    let (y, variance) = case.tape.bhyt(x, (gamma, lambda), (1e-6, 0.4), None, result);
    // Past the norm, so that dx is added to what comes along there.
    let past = (rows % 2 == 1).then(|| case.tape.add(x, x));
    let mut seeded: Vec<TensorId> = [y].into_iter().chain(past).collect();
    let mut lambdas = vec![lambda];
    if both {
        // k is λ₁² times a constant: central differences of λ₁ have to see that.
        let added = case.input("branch", &[rows, width], Fill::Normal(0.5));
        let second_x = case.tape.add(x, added);
        let [values, output] = [("values", 12), ("output", 4)].map(|(name, columns)| {
            let drawn = (0..4 * columns).map(|_| case.draw(Fill::Normal(0.6))).collect();
            case.constant(name, &[4, columns], DType::F32, drawn)
        });
        let k = case.tape.attention_variance(values, output, lambda, 0.03);
        let gamma = case.parameter("second gamma", &[width], Fill::Around(1.0, 0.3));
        let second = number(&mut case, "second lambda", 1.8);
        let first = First { variance: variance.expect("the first site computes v"), added: k, lambda };
        let (y, _) = case.tape.bhyt(second_x, (gamma, second), (1e-6, 0.4), Some(first), result);
        let past = (rows % 2 == 1).then(|| case.tape.add(second_x, second_x));
        seeded.extend([y].into_iter().chain(past));
        lambdas.push(second);
    }
    // Sums over a row err by 6e-8·√terms ≤ 2e-6 of their largest term; dx is a sum of three terms.
    let bound = if result == DType::F16 { HALF_BOUND } else { 6e-6 };
    let mut case = case.finish(&seeded, &[], bound);
    // A sum of many terms of both signs can be near zero by chance. A start value of twice the terms' scale keeps the
    // magnitude up.
    for lambda in lambdas {
        let gradient = case.tape.known_gradient(lambda).expect("λ has a gradient");
        for (tensor, values) in &mut case.values {
            if *tensor == gradient {
                values.fill(600.0);
            }
        }
    }
    case
}
