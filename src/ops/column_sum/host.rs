//! Sums of columns on the CPU: blocks of rows in f32, each on one thread, then these sums in f64, in order.

use super::{ColumnSum, Summand};
use crate::cores::{rows_per_task, simd};
use rayon::prelude::*;

/// Rows of a block.
const ROWS: usize = 64;

/// Rows that are added to the sums at a time: each sum is read and written once for all of them.
const AT_ONCE: usize = 4;

pub(super) fn sum(op: &ColumnSum, x: &[f32], width: usize, out: &mut [f32]) {
    let columns = out.len();
    let mut parts = vec![0.0_f32; x.len().div_ceil(ROWS * width) * columns];
    let blocks = parts.par_chunks_mut(columns).zip(x.par_chunks(ROWS * width));
    blocks.with_min_len(rows_per_task(width).div_ceil(ROWS)).for_each(|(sums, rows)| {
        simd(
            #[inline(always)]
            || match op.of {
                Summand::Values => add(sums, rows, width, |value| value),
                Summand::NonZero => add(sums, rows, width, |value| f32::from(u8::from(value != 0.0))),
            },
        );
    });
    let mut totals: Vec<f64> = match op.accumulate {
        true => out.iter().map(|&before| f64::from(before)).collect(),
        false => vec![0.0; columns],
    };
    simd(
        #[inline(always)]
        || {
            for part in parts.chunks_exact(columns) {
                totals.iter_mut().zip(part).for_each(|(total, &part)| *total += f64::from(part));
            }
            out.iter_mut().zip(&totals).for_each(|(out, &total)| *out = total as f32);
        },
    );
}

#[inline(always)]
fn add(sums: &mut [f32], rows: &[f32], width: usize, term: impl Fn(f32) -> f32) {
    let mut blocks = rows.chunks_exact(AT_ONCE * width);
    for block in &mut blocks {
        let [a, b, c, d] = [0, 1, 2, 3].map(|row| &block[row * width..][..sums.len()]);
        for (i, sum) in sums.iter_mut().enumerate() {
            *sum += (term(a[i]) + term(b[i])) + (term(c[i]) + term(d[i]));
        }
    }
    for row in blocks.remainder().chunks_exact(width) {
        for (sum, &value) in sums.iter_mut().zip(row) {
            *sum += term(value);
        }
    }
}
