//! Sinks on the CPU, in f32: threads share rows.

use super::Extents;
use crate::cores::functions::{logistic, sum};
use crate::cores::{rows_per_task, simd};
use rayon::prelude::*;

/// z from o, in place.
pub(super) fn forward(extents: Extents, [lse, sinks]: [&[f32]; 2], z: &mut [f32]) {
    let columns = extents.heads * extents.width;
    let rows = rows_per_task(columns);
    z.par_chunks_mut(rows * columns).enumerate().for_each(|(block, z)| {
        simd(
            #[inline(always)]
            || {
                for (i, z) in z.chunks_exact_mut(columns).enumerate() {
                    for (head, z) in z.chunks_exact_mut(extents.width).enumerate() {
                        let share = logistic(lse[extents.line(block * rows + i, head)] - sinks[head]).0;
                        z.iter_mut().for_each(|z| *z *= share);
                    }
                }
            },
        );
    });
}

/// do and db from z, lse, b and dz. Each block of rows has sums of its own, which are added in f64 in their order.
pub(super) fn backward(extents: Extents, accumulate: bool, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([z, lse, sinks, dz], [before, d_sinks]) = (inputs, outputs) else {
        unreachable!("four inputs, two outputs")
    };
    let columns = extents.heads * extents.width;
    let rows = rows_per_task(columns).min(256);
    let blocks = before.par_chunks_mut(rows * columns).enumerate();
    let sums = blocks.map(|(block, before)| {
        let mut sums = vec![0.0_f64; extents.heads];
        simd(
            #[inline(always)]
            || {
                for (i, before) in before.chunks_exact_mut(columns).enumerate() {
                    let row = block * rows + i;
                    for (head, before) in before.chunks_exact_mut(extents.width).enumerate() {
                        let first = row * columns + head * extents.width;
                        let [z, dz] = [z, dz].map(|of| &of[first..][..extents.width]);
                        let x = lse[extents.line(row, head)] - sinks[head];
                        sums[head] -= f64::from(logistic(-x).0 * sum([z, dz], |[z, dz]| z * dz));
                        let share = logistic(x).0;
                        before.iter_mut().zip(dz).for_each(|(to, dz)| *to = share * dz);
                    }
                }
            },
        );
        sums
    });
    let sums: Vec<Vec<f64>> = sums.collect();
    for (head, to) in d_sinks.iter_mut().enumerate() {
        let start = if accumulate { f64::from(*to) } else { 0.0 };
        *to = (start + sums.iter().map(|sums| sums[head]).sum::<f64>()) as f32;
    }
}
