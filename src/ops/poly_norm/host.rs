//! The normalized polynomial on the CPU, in f32: threads share blocks of rows.

use super::{EPSILON, TERMS};
use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// y and r from x, w and b.
pub(super) fn forward(width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, w, b], [y, known]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
    let rows = rows_per_block(width);
    let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
    blocks.zip(known.par_chunks_mut(rows * 4)).for_each(|((y, x), known)| {
        simd(
            #[inline(always)]
            || {
                let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((y, x), known) in rows.zip(known.chunks_exact_mut(4)) {
                    let r = factors(x);
                    known.copy_from_slice(&[r[0], r[1], r[2], 0.0]);
                    let [first, second, third] = [0, 1, 2].map(|i| w[i] * r[i]);
                    for (y, &x) in y.iter_mut().zip(x) {
                        *y = third.mul_add(x, second).mul_add(x, first).mul_add(x, b[0]);
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn factors(x: &[f32]) -> [f32; TERMS] {
    let squares =
        [sum([x], |[x]| x * x), sum([x], |[x]| (x * x) * (x * x)), sum([x], |[x]| (x * x * x) * (x * x * x))];
    squares.map(|square| 1.0 / (square / x.len() as f32 + EPSILON as f32).sqrt())
}

/// dx, dw and db from x, w, r and dy.
pub(super) fn backward(width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, w, known, dy], [dx, dw, db]) = (inputs, outputs) else {
        unreachable!("four inputs, three outputs")
    };
    let rows = rows_per_block(width);
    let blocks =
        dx.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width).zip(dy.par_chunks(rows * width)));
    let sums = blocks.zip(known.par_chunks(rows * 4)).map(|((dx, (x, dy)), known)| {
        let mut sums = [0.0_f64; TERMS + 1];
        simd(
            #[inline(always)]
            || {
                let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(dy.chunks_exact(width)));
                for ((dx, (x, dy)), known) in rows.zip(known.chunks_exact(4)) {
                    let r: [f32; TERMS] = [known[0], known[1], known[2]];
                    let along = [
                        sum([x, dy], |[x, d]| d * x) * r[0],
                        sum([x, dy], |[x, d]| d * (x * x)) * r[1],
                        sum([x, dy], |[x, d]| d * (x * x * x)) * r[2],
                    ];
                    sums[TERMS] += f64::from(sum([dy], |[d]| d));
                    for i in 0..TERMS {
                        sums[i] += f64::from(along[i]);
                    }
                    let pull = [0, 1, 2].map(|i| r[i] * along[i] / width as f32);
                    let scale = [w[0] * r[0], 2.0 * w[1] * r[1], 3.0 * w[2] * r[2]];
                    for (dx, (&x, &d)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                        let square = x * x;
                        let first = scale[0] * x.mul_add(-pull[0], d);
                        let second = scale[1] * x * square.mul_add(-pull[1], d);
                        let third = scale[2] * square * (square * x).mul_add(-pull[2], d);
                        *dx = first + second + third;
                    }
                }
            },
        );
        sums
    });
    let (mut of_w, mut of_b) = ([0.0; TERMS], 0.0);
    for sums in sums.collect::<Vec<_>>() {
        of_w.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        of_b += sums[TERMS];
    }
    dw.iter_mut().zip(of_w).for_each(|(to, sum)| *to = (f64::from(*to) + sum) as f32);
    db[0] = (f64::from(db[0]) + of_b) as f32;
}
