//! BHyT on the CPU, in f32: threads share blocks of rows.

use super::site::Site;
use crate::cores::functions::{exp, sum, tanh};
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// 1 − tanh²
#[inline(always)]
fn slope(u: f32) -> f32 {
    let e = exp(-2.0 * u.abs());
    let r = 1.0 / (1.0 + e);
    4.0 * e * r * r
}

/// y and, unless it is given, v.
pub(super) fn forward(site: Site, width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let [x, gamma, lambda, first @ ..] = inputs else { unreachable!("three inputs and more") };
    let lambda = lambda[0];
    let rows = rows_per_block(width);
    let one = |y: &mut [f32], x: &[f32], v: f32, added: f32| {
        let factor = lambda * site.scale_f32(v, added);
        simd(
            #[inline(always)]
            || {
                for ((y, x), gamma) in y.iter_mut().zip(x).zip(*gamma) {
                    *y = gamma * tanh(factor * x);
                }
            },
        );
    };
    match (first, outputs) {
        ([known, added, _], [y]) => {
            let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
            blocks.zip(known.par_chunks(rows)).for_each(|((y, x), known)| {
                for ((y, x), &v) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(known) {
                    one(y, x, v, added[0]);
                }
            });
        }
        (_, [y, variance]) => {
            let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
            blocks.zip(variance.par_chunks_mut(rows)).for_each(|((y, x), variance)| {
                for ((y, x), v) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(variance) {
                    *v = simd(
                        #[inline(always)]
                        || sum([x], |[e]| e * e),
                    ) / width as f32;
                    one(y, x, *v, 0.0);
                }
            });
        }
        _ => unreachable!("y, and v unless it is given"),
    }
}

/// (r, s) of each row and, if v is given, dv.
pub(super) fn along(site: Site, width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let [x, gamma, lambda, known, dy, added @ ..] = inputs else { unreachable!("five inputs and more") };
    let (lambda, added) = (lambda[0], added.first().map_or(0.0, |added| added[0]));
    let [along, d_variance @ ..] = outputs else { unreachable!("an output and more") };
    let rows = x.par_chunks(width).zip(dy.par_chunks(width)).zip(known.par_iter());
    along.par_chunks_mut(2).zip(rows).with_min_len(rows_per_block(width)).for_each(
        |(along, ((x, dy), &v))| {
            let r = site.scale_f32(v, added);
            let factor = lambda * r;
            let s = simd(
                #[inline(always)]
                || sum([x, gamma, dy], |[x, gamma, dy]| dy * gamma * slope(factor * x) * x),
            );
            along.copy_from_slice(&[r, s]);
        },
    );
    for d_variance in d_variance {
        for (dv, along) in d_variance.iter_mut().zip(along.chunks(2)) {
            *dv = site.pull_f32(lambda, along[0], along[1]);
        }
    }
}

/// dx; whether v was handed on, and whether something is added to dx.
pub(super) fn backward(
    (site, handed, addend): (Site, bool, bool),
    width: usize,
    inputs: &[&[f32]],
    dx: &mut [f32],
) {
    let [x, gamma, lambda, along, dy, others @ ..] = inputs else { unreachable!("five inputs and more") };
    let lambda = lambda[0];
    let addend = addend.then(|| others[others.len() - 1]);
    let rows = dx.par_chunks_mut(width).enumerate().with_min_len(rows_per_block(width));
    rows.for_each(|(row, dx)| {
        let own = row * width..(row + 1) * width;
        let (x, dy) = (&x[own.clone()], &dy[own.clone()]);
        let [r, s] = [along[2 * row], along[2 * row + 1]];
        let computed = if site.given { 0.0 } else { site.pull_f32(lambda, r, s) };
        let by_variance = computed + if handed { others[0][row] } else { 0.0 };
        let (factor, pull) = (lambda * r, 2.0 / width as f32 * by_variance);
        simd(
            #[inline(always)]
            || {
                for ((dx, x), (gamma, dy)) in dx.iter_mut().zip(x).zip(gamma.iter().zip(dy)) {
                    *dx = pull.mul_add(*x, factor * (dy * gamma * slope(factor * x)));
                }
                if let Some(addend) = addend {
                    dx.iter_mut().zip(&addend[own.clone()]).for_each(|(dx, addend)| *dx += addend);
                }
            },
        );
    });
}

/// Adds to dγ, dλ and, if v is given, dλ₁. Each block of rows has sums of its own, which are added in their order.
pub(super) fn parameters(site: Site, width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let [x, lambda, along, dy, first @ ..] = inputs else { unreachable!("four inputs and more") };
    let lambda = lambda[0];
    let rows = rows_per_block(width).max(32);
    let blocks = x.par_chunks(rows * width).zip(dy.par_chunks(rows * width)).zip(along.par_chunks(2 * rows));
    let sums = blocks.map(|((x, dy), along)| {
        let mut gamma = vec![0.0_f32; width];
        simd(
            #[inline(always)]
            || {
                for ((x, dy), along) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(along.chunks(2))
                {
                    let factor = lambda * along[0];
                    for (gamma, (x, dy)) in gamma.iter_mut().zip(x.iter().zip(dy)) {
                        *gamma = tanh(factor * x).mul_add(*dy, *gamma);
                    }
                }
            },
        );
        gamma
    });
    for gamma in sums.collect::<Vec<_>>() {
        outputs[0].iter_mut().zip(gamma).for_each(|(to, from)| *to += from);
    }
    // Two numbers a row: one thread adds them up, in f64.
    let own: f64 = along.chunks(2).map(|row| f64::from(row[0]) * f64::from(row[1])).sum();
    outputs[1][0] = (f64::from(outputs[1][0]) + own) as f32;
    if let [added, first_lambda] = first {
        let pulls = along.chunks(2).map(|row| f64::from(site.pull_f32(lambda, row[0], row[1])));
        let factor = 2.0 * f64::from(added[0]) / f64::from(first_lambda[0]);
        outputs[2][0] = (f64::from(outputs[2][0]) + factor * pulls.sum::<f64>()) as f32;
    }
}
