//! Norms of columns on the CPU, in f32: threads share blocks of rows.

use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// y from x, γ, β and the numbers of the rule.
pub(super) fn forward(width: usize, inputs: &[&[f32]], y: &mut [f32]) {
    let [x, gamma, beta, numbers, ..] = inputs else { unreachable!("four inputs and more") };
    let scales: Vec<f32> = gamma.iter().zip(*numbers).map(|(gamma, s)| gamma * s).collect();
    let block = rows_per_block(width) * width;
    y.par_chunks_mut(block).zip(x.par_chunks(block)).for_each(|(y, x)| {
        simd(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let vectors = scales.iter().zip(*beta);
                    for ((y, x), (scale, beta)) in y.iter_mut().zip(x).zip(vectors) {
                        *y = x.mul_add(*scale, *beta);
                    }
                }
            },
        );
    });
}

/// dx from x, dy, the coefficients, and what is added to it.
pub(super) fn backward(width: usize, inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, dy, coefficients, addend @ ..] = inputs else { unreachable!("three inputs and more") };
    let (p, q) = coefficients.split_at(width);
    let block = rows_per_block(width) * width;
    dx.par_chunks_mut(block).enumerate().for_each(|(at, dx)| {
        simd(
            #[inline(always)]
            || {
                for (i, dx) in dx.chunks_exact_mut(width).enumerate() {
                    let row = at * block + i * width..at * block + (i + 1) * width;
                    let rows = x[row.clone()].iter().zip(&dy[row.clone()]);
                    for ((dx, (x, dy)), (p, q)) in dx.iter_mut().zip(rows).zip(p.iter().zip(q)) {
                        *dx = p.mul_add(*dy, -q * x);
                    }
                    if let Some(addend) = addend.first() {
                        dx.iter_mut().zip(&addend[row]).for_each(|(dx, addend)| *dx += addend);
                    }
                }
            },
        );
    });
}

/// The sums of a∘b and of b over the rows of each column. Each block of rows has sums of its own, which are added in their order.
pub(super) fn column_sums(width: usize, [a, b]: [&[f32]; 2]) -> [Vec<f32>; 2] {
    let block = rows_per_block(width).max(32) * width;
    let sums = a.par_chunks(block).zip(b.par_chunks(block)).map(|(a, b)| {
        let (mut products, mut sums) = (vec![0.0_f32; width], vec![0.0_f32; width]);
        simd(
            #[inline(always)]
            || {
                for (a, b) in a.chunks_exact(width).zip(b.chunks_exact(width)) {
                    let both = products.iter_mut().zip(&mut sums);
                    for ((product, sum), (a, b)) in both.zip(a.iter().zip(b)) {
                        *product = a.mul_add(*b, *product);
                        *sum += b;
                    }
                }
            },
        );
        [products, sums]
    });
    let mut all = [vec![0.0_f32; width], vec![0.0_f32; width]];
    for parts in sums.collect::<Vec<_>>() {
        for (to, from) in all.iter_mut().zip(parts) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
    all
}
