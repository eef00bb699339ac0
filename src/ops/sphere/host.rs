//! Steps on the sphere on the CPU, in f32: threads share blocks of rows.

use super::EPSILON;
use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// s of each column.
fn strengths(scale: f32, a: &[f32]) -> Vec<f32> {
    a.iter().map(|a| (scale * a).abs()).collect()
}

/// The factor that gives a row length one.
#[inline(always)]
fn inverse_length(row: &[f32]) -> f32 {
    1.0 / (sum([row], |[v]| v * v) + EPSILON as f32).sqrt()
}

/// z, r and q from x, y and a.
pub(super) fn forward(width: usize, scale: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, y, a], [z, lengths]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
    let (s, rows) = (strengths(scale, a), rows_per_block(width));
    let blocks = z.par_chunks_mut(rows * width).zip(lengths.par_chunks_mut(rows * 2));
    let read = x.par_chunks(rows * width).zip(y.par_chunks(rows * width));
    blocks.zip(read).for_each(|((z, lengths), (x, y))| {
        simd(
            #[inline(always)]
            || {
                let rows = z.chunks_exact_mut(width).zip(lengths.chunks_exact_mut(2));
                let read = x.chunks_exact(width).zip(y.chunks_exact(width));
                for ((z, lengths), (x, y)) in rows.zip(read) {
                    let r = inverse_length(y);
                    for ((z, s), (x, y)) in z.iter_mut().zip(&s).zip(x.iter().zip(y)) {
                        *z = x + s * (y * r - x);
                    }
                    let q = inverse_length(z);
                    z.iter_mut().for_each(|z| *z *= q);
                    lengths.copy_from_slice(&[r, q]);
                }
            },
        );
    });
}

/// dx, dy and t from y, z, dz, a, r and q.
pub(super) fn backward(width: usize, scale: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([y, z, dz, a, lengths], [dx, dy, turns]) = (inputs, outputs) else {
        unreachable!("five inputs, three outputs")
    };
    let (s, rows) = (strengths(scale, a), rows_per_block(width));
    let blocks = dx.par_chunks_mut(rows * width).zip(dy.par_chunks_mut(rows * width));
    blocks.zip(turns.par_chunks_mut(rows)).enumerate().for_each(|(block, ((dx, dy), turns))| {
        simd(
            #[inline(always)]
            || {
                let written = dx.chunks_exact_mut(width).zip(dy.chunks_exact_mut(width)).zip(turns);
                for (i, ((dx, dy), turn)) in written.enumerate() {
                    let row = block * rows + i;
                    let own = row * width..(row + 1) * width;
                    let (y, z, dz) = (&y[own.clone()], &z[own.clone()], &dz[own]);
                    let [r, q] = [lengths[2 * row], lengths[2 * row + 1]];
                    *turn = sum([z, dz], |[z, d]| z * d);
                    for (dx, (z, d)) in dx.iter_mut().zip(z.iter().zip(dz)) {
                        *dx = q * (d - *turn * z);
                    }
                    let along = sum([&*dx, &s, y], |[d, s, y]| s * d * y) * r;
                    for ((dx, dy), (s, y)) in dx.iter_mut().zip(dy).zip(s.iter().zip(y)) {
                        *dy = r * (s * *dx - y * r * along);
                        *dx *= 1.0 - s;
                    }
                }
            },
        );
    });
}

/// da from x, y, z, dz, a, r and q, and t. Each block of rows has sums of its own, which are added in f64 in their order.
pub(super) fn strength(width: usize, scale: f32, accumulate: bool, inputs: &[&[f32]], da: &mut [f32]) {
    let [x, y, z, dz, a, lengths, turns] = inputs else { unreachable!("seven inputs") };
    let rows = rows_per_block(width).max(32);
    let of_block = |block: usize| {
        let mut sums = vec![0.0_f32; width];
        simd(
            #[inline(always)]
            || {
                for row in block * rows..((block + 1) * rows).min(turns.len()) {
                    let own = row * width..(row + 1) * width;
                    let [r, q, turn] = [lengths[2 * row], lengths[2 * row + 1], turns[row]];
                    let read = x[own.clone()].iter().zip(&y[own.clone()]);
                    let read = read.zip(z[own.clone()].iter().zip(&dz[own]));
                    for (sum, ((x, y), (z, d))) in sums.iter_mut().zip(read) {
                        *sum = (q * (d - turn * z)).mul_add(y * r - x, *sum);
                    }
                }
            },
        );
        sums
    };
    let blocks: Vec<Vec<f32>> = (0..turns.len().div_ceil(rows)).into_par_iter().map(of_block).collect();
    for (column, (da, a)) in da.iter_mut().zip(*a).enumerate() {
        let sum: f64 = blocks.iter().map(|sums| f64::from(sums[column])).sum();
        let sign = if *a == 0.0 { 0.0 } else { a.signum() };
        let own = f64::from(scale.abs() * sign) * sum;
        *da = if accumulate { (f64::from(*da) + own) as f32 } else { own as f32 };
    }
}
