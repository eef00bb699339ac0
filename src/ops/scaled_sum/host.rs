//! The scaled sum on the CPU: one pass over memory in each direction.

use crate::cores::{TASK, dot, fill, simd};
use crate::tape::Io;
use rayon::prelude::*;

pub(super) fn forward(io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let (alpha, beta) = (inputs[2][0], inputs[3][0]);
    fill(outputs[0], |first, z| {
        let [x, y] = [0, 1].map(|i| &inputs[i][first..][..z.len()]);
        simd(
            #[inline(always)]
            || z.iter_mut().zip(x.iter().zip(y)).for_each(|(z, (x, y))| *z = beta * x + y / alpha),
        );
    });
}

/// Each task sums its own products; the sums are added in the order of the tasks.
pub(super) fn backward(io: &mut Io<'_, f32>, accumulate: bool) {
    let (inputs, outputs) = io.split();
    let [x, y, alpha, beta, dz] = inputs else { panic!("five inputs") };
    let (alpha, beta) = (alpha[0], beta[0]);
    let [dx, dy, d_alpha, d_beta] = outputs else { panic!("four outputs") };
    let tasks = dx.par_chunks_mut(TASK).zip(dy.par_chunks_mut(TASK)).enumerate();
    let sums = tasks.map(|(i, (dx, dy))| {
        let [x, y, dz] = [x, y, dz].map(|operand| &operand[i * TASK..][..dx.len()]);
        simd(
            #[inline(always)]
            || {
                for ((dx, dy), dz) in dx.iter_mut().zip(dy).zip(dz) {
                    *dx = beta * dz;
                    *dy = dz / alpha;
                }
            },
        );
        [dot(dz, x), dot(dz, y)]
    });
    let sums: Vec<[f64; 2]> = sums.collect();
    let [with_x, with_y] = [0, 1].map(|i| sums.iter().map(|sum| sum[i]).sum::<f64>());
    let alpha = f64::from(alpha);
    for (total, sum) in [(d_alpha, -with_y / (alpha * alpha)), (d_beta, with_x)] {
        let before = if accumulate { f64::from(total[0]) } else { 0.0 };
        total[0] = (before + sum) as f32;
    }
}
