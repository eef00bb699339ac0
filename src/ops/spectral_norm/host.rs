//! The ops on the CPU. Sums are of f64, over rows for some columns at a time or along a row, so their order does not depend on threads.

use super::sizes::{Sizes, TINY};
use crate::cores::{dot, fill, simd};
use crate::tape::Io;
use rayon::prelude::*;

/// Columns that one task sums: their partial sums stay in registers.
const COLUMNS: usize = 32;

/// What `add` adds up over the rows, for each of the columns `own`: it gets a row, and the elements of the matrix that some of the
/// columns have there.
fn column_sums(
    (rows, columns): (usize, usize),
    own: std::ops::Range<usize>,
    add: impl Fn(usize, std::ops::Range<usize>, &mut [f64]) + Sync,
) -> Vec<f64> {
    let mut sums = vec![0.0; own.len()];
    sums.par_chunks_mut(COLUMNS).enumerate().for_each(|(task, sums)| {
        let first = own.start + task * COLUMNS;
        let end = first + sums.len();
        simd(
            #[inline(always)]
            || (0..rows).for_each(|row| add(row, row * columns + first..row * columns + end, sums)),
        );
    });
    sums
}

/// uᵀW of matrix `part`.
fn project(sizes: Sizes, part: usize, w: &[f32], u: &[f32]) -> Vec<f64> {
    let Sizes { rows, columns, .. } = sizes;
    let u = &u[part * rows..][..rows];
    column_sums((rows, columns), columns_of(sizes, part), |row, own, sums| {
        let factor = f64::from(u[row]);
        sums.iter_mut().zip(&w[own]).for_each(|(sum, &w)| *sum += factor * f64::from(w));
    })
}

/// The columns of matrix `part`.
fn columns_of(sizes: Sizes, part: usize) -> std::ops::Range<usize> {
    let width = sizes.width();
    part * width..(part + 1) * width
}

fn length(of: &[f64]) -> f64 {
    of.iter().map(|t| t * t).sum::<f64>().sqrt()
}

pub(super) fn forward(sizes: Sizes, io: &mut Io<'_, f32>) {
    let Sizes { columns, parts, .. } = sizes;
    let width = sizes.width();
    let (inputs, outputs) = io.split();
    let [w, gamma, u] = inputs else { unreachable!("three inputs") };
    let [scaled, v, numbers] = outputs else { unreachable!("three outputs") };
    for part in 0..parts {
        let sums = project(sizes, part, w, u);
        let sigma = length(&sums).max(TINY);
        v[columns_of(sizes, part)].iter_mut().zip(&sums).for_each(|(v, t)| *v = (t / sigma) as f32);
        let gamma = gamma[part];
        for (at, number) in [sigma as f32, (f64::from(gamma) / sigma) as f32, gamma].into_iter().enumerate() {
            numbers[at * parts + part] = number;
        }
    }
    let scales = &numbers[parts..2 * parts];
    by_matrix((columns, width), scaled, |part, first, scaled| {
        let (factor, w) = (scales[part], &w[first..][..scaled.len()]);
        scaled.iter_mut().zip(w).for_each(|(scaled, w)| *scaled = factor * w);
    });
}

/// Calls `work` on each part of a row of `out` that belongs to one matrix, with the index of its first element.
fn by_matrix(
    (columns, width): (usize, usize),
    out: &mut [f32],
    work: impl Fn(usize, usize, &mut [f32]) + Sync,
) {
    fill(out, |start, out| {
        simd(
            #[inline(always)]
            || {
                let mut at = 0;
                while at < out.len() {
                    let column = (start + at) % columns;
                    let end = (at + width - column % width).min(out.len());
                    work(column / width, start + at, &mut out[at..end]);
                    at = end;
                }
            },
        );
    });
}

pub(super) fn backward(sizes: Sizes, accumulate: bool, io: &mut Io<'_, f32>) {
    let Sizes { rows, columns, parts } = sizes;
    let width = sizes.width();
    let (inputs, outputs) = io.split();
    let [w, gradient, u, v, numbers] = inputs else { unreachable!("five inputs") };
    let [d_gamma, dw] = outputs else { unreachable!("two outputs") };
    let mut drifts = Vec::new();
    for part in 0..parts {
        let sums = column_sums((rows, columns), columns_of(sizes, part), |_, own, sums| {
            let terms = w[own.clone()].iter().zip(&gradient[own]);
            sums.iter_mut().zip(terms).for_each(|(sum, (&w, &d))| *sum += f64::from(w) * f64::from(d));
        });
        let drift = sums.iter().sum::<f64>() / f64::from(numbers[part]);
        let before = if accumulate { f64::from(d_gamma[part]) } else { 0.0 };
        d_gamma[part] = (before + drift) as f32;
        drifts.push(drift as f32);
    }
    by_matrix((columns, width), dw, |part, first, dw| {
        let (row, column) = (first / columns, first % columns);
        let (scale, turn) = (numbers[parts + part], drifts[part] * u[part * rows + row]);
        let terms = gradient[first..][..dw.len()].iter().zip(&v[column..][..dw.len()]);
        let own = terms.map(|(d, v)| scale * (d - turn * v));
        if accumulate {
            dw.iter_mut().zip(own).for_each(|(dw, own)| *dw += own);
        } else {
            dw.iter_mut().zip(own).for_each(|(dw, own)| *dw = own);
        }
    });
}

pub(super) fn iterate(sizes: Sizes, io: &mut Io<'_, f32>) {
    let Sizes { rows, columns, parts } = sizes;
    let (inputs, outputs) = io.split();
    let [w, u] = inputs else { unreachable!("two inputs") };
    for part in 0..parts {
        let own = columns_of(sizes, part);
        let sums: Vec<f32> = project(sizes, part, w, u).iter().map(|&t| t as f32).collect();
        let turned = |row: usize| dot(&w[row * columns..][own.clone()], &sums);
        let next: Vec<f64> = (0..rows).into_par_iter().map(turned).collect();
        let length = length(&next);
        for (row, z) in next.into_iter().enumerate() {
            let at = part * rows + row;
            outputs[0][at] = if length > 0.0 { (z / length) as f32 } else { u[at] };
        }
    }
}
