//! Layer normalization on the CPU, in f32: threads share blocks of rows.

use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// The gate and the scale of a tapered norm; without them, a gate that is open.
fn gate(taper: Option<&&[f32]>) -> [f32; 2] {
    taper.map_or([1.0, 0.0], |taper| [taper[0], taper[1]])
}

/// The factor of x − μ in a row with that r; r itself where the gate is open.
#[inline(always)]
fn factor(r: f32, [gate, scale]: [f32; 2]) -> f32 {
    gate.mul_add(r, (1.0 - gate) * scale)
}

/// y, μ and r from x, γ, β and, if it is tapered, its state.
pub(super) fn forward(width: usize, epsilon: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, gamma, beta, taper @ ..], [y, means, rstds]) = (inputs, outputs) else {
        unreachable!("three inputs and more, three outputs")
    };
    let taper = gate(taper.first());
    let rows = rows_per_block(width);
    let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
    let blocks = blocks.zip(means.par_chunks_mut(rows).zip(rstds.par_chunks_mut(rows)));
    blocks.for_each(|((y, x), (means, rstds))| {
        simd(
            #[inline(always)]
            || {
                let rows = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                for ((y, x), (mean, rstd)) in rows.zip(means.iter_mut().zip(rstds)) {
                    (*mean, *rstd) = normalize(y, x, [gamma, beta], epsilon, taper);
                }
            },
        );
    });
}

#[inline(always)]
fn normalize(
    y: &mut [f32],
    x: &[f32],
    [gamma, beta]: [&[f32]; 2],
    epsilon: f32,
    taper: [f32; 2],
) -> (f32, f32) {
    let width = x.len() as f32;
    let mean = sum([x], |[v]| v) / width;
    let variance = sum([x], |[v]| (v - mean) * (v - mean)) / width;
    let rstd = 1.0 / (variance + epsilon).sqrt();
    let factor = factor(rstd, taper);
    for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta)) {
        *y = ((x - mean) * factor).mul_add(*gamma, *beta);
    }
    (mean, rstd)
}

/// dx from x, γ, μ, r, dy, its state if it is tapered, and what is added to it.
pub(super) fn backward((width, tapered): (usize, bool), inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, gamma, means, rstds, dy, others @ ..] = inputs else { unreachable!("five inputs and more") };
    let (taper, addend) = others.split_at(usize::from(tapered));
    let taper = taper.first().map(|taper| [taper[0], taper[1]]);
    let rows = rows_per_block(width);
    dx.par_chunks_mut(rows * width).enumerate().for_each(|(block, dx)| {
        simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let row = block * rows + i;
                    let own = row * width..(row + 1) * width;
                    let statistics = (means[row], rstds[row]);
                    row_gradient(dx, [&x[own.clone()], &dy[own.clone()], gamma], statistics, taper);
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
fn row_gradient(dx: &mut [f32], rows: [&[f32]; 3], (mean, rstd): (f32, f32), taper: Option<[f32; 2]>) {
    let [x, dy, gamma] = rows;
    let width = x.len() as f32;
    let g_mean = sum([dy, gamma], |[d, w]| d * w) / width;
    let along = sum(rows, |[x, d, w]| d * w * ((x - mean) * rstd)) / width;
    if let Some(taper) = taper {
        let (factor, back) = (factor(rstd, taper), taper[0] * rstd * along);
        for ((dx, x), (d, w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(gamma)) {
            *dx = ((x - mean) * rstd).mul_add(-back, factor * (d * w - g_mean));
        }
        return;
    }
    for ((dx, x), (d, w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(gamma)) {
        let xhat = (x - mean) * rstd;
        *dx = rstd * xhat.mul_add(-along, d * w - g_mean);
    }
}

/// Adds to dγ and dβ, from x, μ, r, dy and, if it is tapered, its state. Each block of rows has sums of its own, which are added in their order.
pub(super) fn parameters(width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, means, rstds, dy, taper @ ..], [d_gamma, d_beta]) = (inputs, outputs) else {
        unreachable!("four inputs and more, two outputs")
    };
    let taper = gate(taper.first());
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
                    let factor = factor(*rstd, taper);
                    let sums = gamma.iter_mut().zip(&mut beta);
                    for ((gamma, beta), (x, d)) in sums.zip(x.iter().zip(dy)) {
                        *gamma = ((x - mean) * factor).mul_add(*d, *gamma);
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
