//! The norm of queries and keys on the CPU, in f32: threads share blocks of rows.

use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use crate::ops::packed::Packed;
use rayon::prelude::*;

/// The gains of every query head, then of every key head, if there are any.
fn by_head(packed: Packed, gains: &[&[f32]], scale: f32) -> Vec<Vec<f32>> {
    let Packed { heads, width } = packed;
    let of = |head: usize| match gains {
        [shared] => shared[head % heads * width..][..width].iter().map(|gain| scale * gain).collect(),
        apart => apart[head / heads].to_vec(),
    };
    if gains.is_empty() { Vec::new() } else { (0..2 * heads).map(of).collect() }
}

/// y and r from x and the gains.
pub(super) fn forward(
    packed: Packed,
    epsilon: f32,
    scale: f32,
    inputs: &[&[f32]],
    outputs: &mut [&mut [f32]],
) {
    let ([x, gains @ ..], [y, r]) = (inputs, outputs) else { unreachable!("one input and two outputs") };
    let gains = by_head(packed, gains, scale);
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
                        match gains.get(head) {
                            Some(gain) => y.iter_mut().zip(gain).for_each(|(y, gain)| *y *= *r * gain),
                            None => y.iter_mut().for_each(|y| *y *= *r),
                        }
                    }
                }
            },
        );
    });
}

/// dx from x, r, dy and the gains.
pub(super) fn backward(packed: Packed, scale: f32, inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, r, dy, gains @ ..] = inputs else { unreachable!("three inputs and more") };
    let gains = by_head(packed, gains, scale);
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
                        if let Some(gain) = gains.get(head) {
                            g.iter_mut().zip(gain).for_each(|(g, gain)| *g *= gain);
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
pub(super) fn gains(packed: Packed, scale: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let [x, r, dy] = inputs else { unreachable!("three inputs") };
    let shared = outputs.len() == 1;
    // The gradient of a query head's gains, or of a key head's, which counts after them.
    let place = |head: usize| if shared { head % packed.heads } else { head / packed.heads } * packed.width;
    let all = if shared { packed.part() } else { 2 * packed.width };
    let (rows, columns) = (rows_per_block(packed.columns()).max(32), packed.columns());
    let blocks = x.par_chunks(rows * columns).zip(dy.par_chunks(rows * columns));
    let sums = blocks.zip(r.par_chunks(rows * 2 * packed.heads)).map(|((x, dy), r)| {
        let mut sums = vec![0.0_f32; all];
        simd(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(columns).zip(dy.chunks_exact(columns));
                for ((x, dy), r) in rows.zip(r.chunks_exact(2 * packed.heads)) {
                    let heads = x[packed.turned()].chunks_exact(packed.width);
                    let heads = heads.zip(dy[packed.turned()].chunks_exact(packed.width)).zip(r);
                    for (head, ((x, dy), r)) in heads.enumerate() {
                        let own = &mut sums[place(head)..][..packed.width];
                        for (sum, (x, dy)) in own.iter_mut().zip(x.iter().zip(dy)) {
                            *sum = (x * r).mul_add(*dy, *sum);
                        }
                    }
                }
            },
        );
        sums
    });
    let width = all / outputs.len();
    for sums in sums.collect::<Vec<_>>() {
        for (to, from) in outputs.iter_mut().zip(sums.chunks_exact(width)) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += scale * from);
        }
    }
}
