//! A learned scale on the CPU: one pass over memory in each direction.

use crate::cores::{TASK, dot, fill, simd};
use crate::tape::Io;
use rayon::prelude::*;

pub(super) fn forward(io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let scale = inputs[1][0];
    fill(outputs[0], |first, y| {
        let x = &inputs[0][first..][..y.len()];
        simd(
            #[inline(always)]
            || y.iter_mut().zip(x).for_each(|(y, x)| *y = scale * x),
        );
    });
}

/// Each task sums its own products; the sums are added in the order of the tasks.
pub(super) fn backward(io: &mut Io<'_, f32>) {
    let (inputs, outputs) = io.split();
    let ([x, scale, dy], [dx, d_scale]) = (inputs, outputs) else { panic!("three inputs, two outputs") };
    let scale = scale[0];
    let tasks = dx.par_chunks_mut(TASK).zip(x.par_chunks(TASK).zip(dy.par_chunks(TASK)));
    let sums = tasks.map(|(dx, (x, dy))| {
        simd(
            #[inline(always)]
            || dx.iter_mut().zip(dy).for_each(|(dx, dy)| *dx = scale * dy),
        );
        dot(x, dy)
    });
    let sum: f64 = sums.collect::<Vec<_>>().into_iter().sum();
    d_scale[0] = (f64::from(d_scale[0]) + sum) as f32;
}
