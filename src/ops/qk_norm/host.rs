//! The norm of queries and keys on the CPU, in f32: threads share blocks of rows.

use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use crate::ops::packed::Packed;
use rayon::prelude::*;

/// y and r from x and the gains.
pub(super) fn forward(packed: Packed, epsilon: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, gains @ ..], [y, r]) = (inputs, outputs) else { unreachable!("one input and two outputs") };
    let (rows, columns) = (rows_per_block(packed.columns()), packed.columns());
    let blocks = y.par_chunks_mut(rows * columns).zip(x.par_chunks(rows * columns));
    blocks.zip(r.par_chunks_mut(rows * 2 * packed.heads)).for_each(|((y, x), r)| {
        y.copy_from_slice(x);
        simd(
            #[inline(always)]
            || {
                let rows = y.chunks_exact_mut(columns).zip(r.chunks_exact_mut(2 * packed.heads));
                for (y, r) in rows {
                    let heads = y[packed.turned()].chunks_exact_mut(packed.width).zip(r).enumerate();
                    for (head, (y, r)) in heads {
                        *r = 1.0 / (sum([&*y], |[v]| v * v) / packed.width as f32 + epsilon).sqrt();
                        match gains.get(head / packed.heads) {
                            Some(gain) => y.iter_mut().zip(*gain).for_each(|(y, gain)| *y *= *r * gain),
                            None => y.iter_mut().for_each(|y| *y *= *r),
                        }
                    }
                }
            },
        );
    });
}

/// dx from x, r, dy and the gains.
pub(super) fn backward(packed: Packed, inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, r, dy, gains @ ..] = inputs else { unreachable!("three inputs and more") };
    let (rows, columns) = (rows_per_block(packed.columns()), packed.columns());
    let blocks = dx.par_chunks_mut(rows * columns).zip(dy.par_chunks(rows * columns));
    let blocks = blocks.zip(x.par_chunks(rows * columns).zip(r.par_chunks(rows * 2 * packed.heads)));
    blocks.for_each(|((dx, dy), (x, r))| {
        dx.copy_from_slice(dy);
        simd(
            #[inline(always)]
            || {
                let rows = dx.chunks_exact_mut(columns).zip(x.chunks_exact(columns));
                for ((dx, x), r) in rows.zip(r.chunks_exact(2 * packed.heads)) {
                    let heads = dx[packed.turned()].chunks_exact_mut(packed.width);
                    let heads = heads.zip(x[packed.turned()].chunks_exact(packed.width)).zip(r);
                    for (head, ((g, x), r)) in heads.enumerate() {
                        if let Some(gain) = gains.get(head / packed.heads) {
                            g.iter_mut().zip(*gain).for_each(|(g, gain)| *g *= gain);
                        }
                        let along = sum([&*g, x], |[g, x]| g * x) * r / packed.width as f32;
                        g.iter_mut().zip(x).for_each(|(g, x)| *g = r * (x * r).mul_add(-along, *g));
                    }
                }
            },
        );
    });
}

/// Adds to the gains' gradients, from x, r and dy. Each block of rows has sums of its own, which are added in their order.
pub(super) fn gains(packed: Packed, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, r, dy], [d_query, d_key]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
    let (rows, columns) = (rows_per_block(packed.columns()).max(32), packed.columns());
    let blocks = x.par_chunks(rows * columns).zip(dy.par_chunks(rows * columns));
    let sums = blocks.zip(r.par_chunks(rows * 2 * packed.heads)).map(|((x, dy), r)| {
        let mut sums = vec![0.0_f32; 2 * packed.width];
        simd(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
                for ((x, dy), r) in rows.zip(r.chunks_exact(2 * packed.heads)) {
                    let heads = x[packed.turned()].chunks_exact(packed.width);
                    let heads = heads.zip(dy[packed.turned()].chunks_exact(packed.width)).zip(r);
                    for (head, ((x, dy), r)) in heads.enumerate() {
                        let own = &mut sums[head / packed.heads * packed.width..][..packed.width];
                        for (sum, (x, dy)) in own.iter_mut().zip(x.iter().zip(dy)) {
                            *sum = (x * r).mul_add(*dy, *sum);
                        }
                    }
                }
            },
        );
        sums
    });
    for sums in sums.collect::<Vec<_>>() {
        let (query, key) = sums.split_at(packed.width);
        for (to, from) in [(&mut *d_query, query), (&mut *d_key, key)] {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
