//! RMSNorm on the CPU, in f32: threads share blocks of rows.

use super::form::Form;
use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// The gate and the scale of a tapered norm; without them, a gate that is open.
fn gate(taper: Option<&&[f32]>) -> [f32; 2] {
    taper.map_or([1.0, 0.0], |taper| [taper[0], taper[1]])
}

/// The factor of x in a row with that r.
#[inline(always)]
fn factor(r: f32, [gate, scale]: [f32; 2]) -> f32 {
    gate.mul_add(r, (1.0 - gate) * scale)
}

/// The sum of a row, and its width with the element that it leaves out; without one, zero and the width.
#[inline(always)]
fn left_out(form: Form, x: &[f32]) -> (f32, f32) {
    if form.compressed { (sum([x], |[v]| v), (x.len() + 1) as f32) } else { (0.0, x.len() as f32) }
}

/// y and r from x, γ and, if it is tapered, its state.
pub(super) fn forward(
    (form, width): (Form, usize),
    epsilon: f32,
    inputs: &[&[f32]],
    outputs: &mut [&mut [f32]],
) {
    let ([x, gamma, taper @ ..], [y, rstds]) = (inputs, outputs) else {
        unreachable!("two inputs and more, two outputs")
    };
    let taper = gate(taper.first());
    let rows = rows_per_block(width);
    let blocks = y.par_chunks_mut(rows * width).zip(x.par_chunks(rows * width));
    blocks.zip(rstds.par_chunks_mut(rows)).for_each(|((y, x), rstds)| {
        simd(
            #[inline(always)]
            || {
                for ((y, x), rstd) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(rstds) {
                    let (whole, count) = left_out(form, x);
                    *rstd = 1.0 / ((sum([x], |[v]| v * v) + whole * whole) / count + epsilon).sqrt();
                    let factor = factor(*rstd, taper);
                    for ((y, x), gamma) in y.iter_mut().zip(x).zip(*gamma) {
                        *y = x * factor * gamma;
                    }
                }
            },
        );
    });
}

/// dx from x, γ, r, dy, its state if it is tapered, and what is added to it.
pub(super) fn backward((form, width): (Form, usize), inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, gamma, rstds, dy, others @ ..] = inputs else { unreachable!("four inputs and more") };
    let (taper, addend) = others.split_at(usize::from(form.tapered));
    let taper = gate(taper.first());
    let rows = rows_per_block(width);
    dx.par_chunks_mut(rows * width).enumerate().for_each(|(block, dx)| {
        simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let row = block * rows + i;
                    let own = row * width..(row + 1) * width;
                    row_gradient(dx, [&x[own.clone()], &dy[own.clone()], gamma], (form, rstds[row]), taper);
                    if let Some(addend) = addend.first() {
                        dx.iter_mut().zip(&addend[own]).for_each(|(dx, addend)| *dx += addend);
                    }
                }
            },
        );
    });
}

#[inline(always)]
fn row_gradient(dx: &mut [f32], rows: [&[f32]; 3], (form, rstd): (Form, f32), taper: [f32; 2]) {
    let [x, dy, gamma] = rows;
    let (whole, count) = left_out(form, x);
    let along = sum(rows, |[x, d, w]| d * w * (x * rstd)) / count;
    let (factor, back) = (factor(rstd, taper), taper[0] * rstd * along);
    for ((dx, x), (d, w)) in dx.iter_mut().zip(x).zip(dy.iter().zip(gamma)) {
        *dx = ((x + whole) * rstd).mul_add(-back, factor * (d * w));
    }
}

/// Adds to dγ, from x, r, dy and, if it is tapered, its state. Each block of rows has sums of its own, which are added in their order.
pub(super) fn parameters(width: usize, inputs: &[&[f32]], d_gamma: &mut [f32]) {
    let [x, rstds, dy, taper @ ..] = inputs else { unreachable!("three inputs and more") };
    let taper = gate(taper.first());
    let rows = rows_per_block(width).max(32);
    let blocks = x.par_chunks(rows * width).zip(dy.par_chunks(rows * width)).zip(rstds.par_chunks(rows));
    let sums = blocks.map(|((x, dy), rstds)| {
        let mut gamma = vec![0.0_f32; width];
        simd(
            #[inline(always)]
            || {
                for ((x, dy), rstd) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(rstds) {
                    let factor = factor(*rstd, taper);
                    for (gamma, (x, d)) in gamma.iter_mut().zip(x.iter().zip(dy)) {
                        *gamma = (x * factor).mul_add(*d, *gamma);
                    }
                }
            },
        );
        gamma
    });
    for gamma in sums.collect::<Vec<_>>() {
        d_gamma.iter_mut().zip(gamma).for_each(|(to, from)| *to += from);
    }
}
