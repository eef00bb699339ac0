//! The loss on the CPU, in f32: threads share rows of logits.

use super::IGNORED;
use crate::cores::functions::{exp_below, maximum, sum};
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// Folds a piece of logits into the state of each row: largest, sum, the target's logit.
pub(super) fn update(opens: bool, columns: usize, inputs: &[&[f32]], states: &mut [f32]) {
    let [logits, targets, first] = inputs else { unreachable!("three inputs") };
    let (rows, first) = (rows_per_block(columns), first[0] as usize);
    let blocks = states.par_chunks_mut(4 * rows).zip(logits.par_chunks(rows * columns));
    blocks.zip(targets.par_chunks(rows)).for_each(|((states, logits), targets)| {
        let rows = states.chunks_exact_mut(4).zip(logits.chunks_exact(columns));
        for ((state, logits), target) in rows.zip(targets) {
            if opens {
                state.copy_from_slice(&[f32::NEG_INFINITY, 0.0, 0.0, 0.0]);
            }
            let (top, sum) = simd(
                #[inline(always)]
                || sum_of_exponentials(logits, state[0]),
            );
            state[1] = state[1] * exp_below(state[0] - top) + sum;
            state[0] = top;
            let place = (target.to_bits() as usize).checked_sub(first);
            if let Some(logit) = place.and_then(|place| logits.get(place)) {
                state[2] = *logit;
            }
        }
    });
}

/// The largest logit, or `least`, and the sum of e^(logit − it).
#[inline(always)]
fn sum_of_exponentials(logits: &[f32], least: f32) -> (f32, f32) {
    let found = maximum(logits);
    let top = if found > least { found } else { least };
    (top, sum([logits], |[v]| exp_below(v - top)))
}

/// Adds to the loss and writes the rows' lse.
pub(super) fn finish(inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([states, targets, scale, ..], [loss, lses]) = (inputs, outputs) else {
        unreachable!("three inputs and more, two outputs")
    };
    let mut sum = 0.0;
    for ((state, target), lse) in states.chunks_exact(4).zip(*targets).zip(lses.iter_mut()) {
        *lse = state[0] + libm::logf(state[1]);
        if target.to_bits() != IGNORED {
            sum += f64::from(*lse - state[2]);
        }
    }
    loss[0] += (sum * f64::from(scale[0])) as f32;
}

/// Turns logits into their gradient. They are in `gradients` already if the op works in place.
pub(super) fn gradient(columns: usize, inputs: &[&[f32]], gradients: &mut [f32]) {
    let [targets, scale, lses, logits, first, scaling @ ..] = inputs else {
        unreachable!("five inputs and more")
    };
    let (rows, first) = (rows_per_block(columns), first[0] as usize);
    let counted = scale[0] * scaling.first().map_or(1.0, |scaling| scaling[0]);
    gradients.par_chunks_mut(rows * columns).enumerate().for_each(|(block, gradients)| {
        for (i, gradients) in gradients.chunks_exact_mut(columns).enumerate() {
            let row = block * rows + i;
            if !logits.is_empty() {
                gradients.copy_from_slice(&logits[row * columns..][..columns]);
            }
            let (target, lse) = (targets[row].to_bits(), lses[row]);
            let weight = if target == IGNORED { 0.0 } else { counted };
            let hit = (target as usize).checked_sub(first).filter(|&place| place < columns);
            let hit = hit.map(|place| (place, (exp_below(gradients[place] - lse) - 1.0) * weight));
            simd(
                #[inline(always)]
                || gradients.iter_mut().for_each(|value| *value = exp_below(*value - lse) * weight),
            );
            if let Some((place, value)) = hit {
                gradients[place] = value;
            }
        }
    });
}
