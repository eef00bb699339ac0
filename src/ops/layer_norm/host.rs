//! Layer normalization on the CPU, in f32: threads share blocks of rows.

use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// y, μ and r from x, γ and β.
pub(super) fn forward(width: usize, epsilon: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, gamma, beta], [y, means, rstds]) = (inputs, outputs) else {
        unreachable!("three inputs and outputs")
    };
    let rows = rows_per_block(width);
    let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
    let blocks = blocks.zip(means.par_chunks_mut(rows).zip(rstds.par_chunks_mut(rows)));
    blocks.for_each(|((y, x), (means, rstds))| {
        simd(
            #[inline(always)]
            || {
                let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((y, x), (mean, rstd)) in rows.zip(means.iter_mut().zip(rstds)) {
                    (*mean, *rstd) = normalize(y, x, [gamma, beta], epsilon);
                }
            },
        );
    });
}

#[inline(always)]
fn normalize(y: &mut [f32], x: &[f32], [gamma, beta]: [&[f32]; 2], epsilon: f32) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum([x], |[v]| v) / width;
    let variance = sum([x], |[v]| (v - mean) * (v - mean)) / width;
    let rstd = 1.0 / (variance + epsilon).sqrt();
    for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta)) {
        *y = ((x - mean) * rstd).mul_add(*gamma, *beta);
    }
    (mean, rstd)
}

/// dx from x, γ, μ, r, dy and what is added to it.
pub(super) fn backward(width: usize, inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, gamma, means, rstds, dy, addend @ ..] = inputs else { unreachable!("five inputs and more") };
    let rows = rows_per_block(width);
    dx.par_chunks_mut(rows * width).enumerate().for_each(|(block, dx)| {
        simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let row = block * rows + i;
                    let own = row * width..(row + 1) * width;
                    row_gradient(dx, [&x[own.clone()], &dy[own.clone()], gamma], (means[row], rstds[row]));
                    if let Some(addend) = addend.first() {
                        for (dx, addend) in dx.iter_mut().zip(&addend[own]) {
                            *dx += addend;
                        }
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn row_gradient(dx: &mut [f32], rows: [&[f32]; 3], (mean, rstd): (f32, f32)) {
    let [x, dy, gamma] = rows;
    let width = x.len() as f32;
    let g_mean = sum([dy, gamma], |[d, w]| d * w) / width;
    let along = sum(rows, |[x, d, w]| d * w * ((x - mean) * rstd)) / width;
    for ((dx, x), (d, w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(gamma)) {
        let xhat = (x - mean) * rstd;
        *dx = rstd * xhat.mul_add(-along, d * w - g_mean);
    }
}

/// Adds to dγ and dβ, from x, μ, r and dy. Each block of rows has sums of its own, which are added in their order.
pub(super) fn parameters(width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, means, rstds, dy], [d_gamma, d_beta]) = (inputs, outputs) else {
        unreachable!("four inputs, two outputs")
    };
    let rows = rows_per_block(width).max(32);
    let blocks = x.par_chunks(rows * width).zip(dy.par_chunks(rows * width));
    let blocks = blocks.zip(means.par_chunks(rows).zip(rstds.par_chunks(rows)));
    let sums = blocks.map(|((x, dy), (means, rstds))| {
        let (mut gamma, mut beta) = (vec![0.0_f32; width], vec![0.0_f32; width]);
        simd(
            #[inline(always)]
            || {
                let rows = x.chunks_exact(width).zip(dy.chunks_exact(width));
                for ((x, dy), (mean, rstd)) in rows.zip(means.iter().zip(rstds)) {
                    let sums = gamma.iter_mut().zip(&mut beta);
                    for ((gamma, beta), (x, d)) in sums.zip(x.iter().zip(dy)) {
                        *gamma = ((x - mean) * rstd).mul_add(*d, *gamma);
                        *beta += d;
                    }
                }
            },
        );
        (gamma, beta)
    });
    for (gamma, beta) in sums.collect::<Vec<_>>() {
        for (to, from) in [(&mut *d_gamma, gamma), (&mut *d_beta, beta)] {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
