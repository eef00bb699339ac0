//! Compares an op's f64 adjoint with central differences of its f64 forward.

use super::{Case, Target};
use crate::reference::{Memory, values_of};
use crate::tape::{Role, TensorId};
use rand::seq::index::sample;
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The largest difference between the adjoint and central differences over a sample of each leaf's elements, relative
/// to the largest magnitude in that leaf's gradient.
pub fn adjoint_error(case: &Case, seed: u64) -> f64 {
    /// Elements sampled per leaf; small leaves are checked in full.
    const SAMPLE: usize = 12;
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut memory = filled(case);
    // A parameter's gradient is added to its old value, except on a tape that overwrites it; an intermediate's is
    // written.
    let adds = !case.tape.overwrites_gradients();
    let start = |gradient: TensorId| match case.tape.info(gradient).role {
        Role::ParameterGradient if adds => memory.get(&case.tape, gradient).to_vec(),
        _ => vec![0.0; case.tape.shape(gradient).elements()],
    };
    let before: Vec<Vec<f64>> = case.leaves.iter().map(|&(_, gradient)| start(gradient)).collect();
    memory.run(&case.tape);
    let mut worst = 0.0_f64;
    for (&(leaf, gradient), before) in case.leaves.iter().zip(before) {
        let analytic: Vec<f64> = memory
            .get(&case.tape, gradient)
            .iter()
            .zip(&before)
            .map(|(after, start)| after - start)
            .collect();
        let scale = analytic.iter().fold(1e-3_f64, |m, v| m.max(v.abs()));
        let count = analytic.len().min(SAMPLE);
        let picks = sample(&mut ChaCha8Rng::seed_from_u64(random.next_u64()), analytic.len(), count);
        for i in picks {
            worst = worst.max((central(case, leaf, i) - analytic[i]).abs() / scale);
        }
    }
    worst
}

/// (L(x + h) − L(x − h)) / 2h for element `i` of a leaf, with Richardson extrapolation over two steps.
fn central(case: &Case, leaf: TensorId, i: usize) -> f64 {
    let slope = |h: f64| (loss(case, leaf, i, h) - loss(case, leaf, i, -h)) / (2.0 * h);
    let h = 2e-4;
    (4.0 * slope(h / 2.0) - slope(h)) / 3.0
}

fn loss(case: &Case, leaf: TensorId, i: usize, step: f64) -> f64 {
    let mut memory = filled(case);
    let mut values = memory.get(&case.tape, leaf).to_vec();
    values[i] += step;
    memory.set(&case.tape, leaf, &values);
    for node in &case.tape.nodes()[..case.forward_nodes] {
        memory.run_node(&case.tape, node);
    }
    match &case.target {
        Target::Loss(loss) => memory.get(&case.tape, *loss).iter().sum(),
        Target::Seeds(seeds) => seeds
            .iter()
            .map(|&(output, seed)| {
                let pairs = memory.get(&case.tape, output).iter().zip(memory.get(&case.tape, seed));
                pairs.map(|(y, dy)| y * dy).sum::<f64>()
            })
            .sum(),
    }
}

fn filled(case: &Case) -> Memory {
    let mut memory = Memory::new(&case.tape);
    for (tensor, values) in &case.values {
        memory.set(&case.tape, *tensor, &values_of(case.tape.info(*tensor).dtype, values));
    }
    memory
}
