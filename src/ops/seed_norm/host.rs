//! SeeDNorm on the CPU, in f32: threads share blocks of rows.

use crate::cores::functions::{sum, tanh};
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// y and (r, t) from x, γ, α and b.
pub(super) fn forward(width: usize, epsilon: f32, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let ([x, gamma, alpha, beta], [y, numbers]) = (inputs, outputs) else {
        unreachable!("four inputs, two outputs")
    };
    let rows = y.par_chunks_mut(width).zip(x.par_chunks(width)).zip(numbers.par_chunks_mut(2));
    rows.with_min_len(rows_per_block(width)).for_each(|((y, x), numbers)| {
        simd(
            #[inline(always)]
            || {
                let r = 1.0 / (sum([x], |[v]| v * v) / width as f32 + epsilon).sqrt();
                let t = tanh(sum([x, beta], |[x, b]| x * b));
                for ((y, x), (alpha, gamma)) in y.iter_mut().zip(x).zip(alpha.iter().zip(*gamma)) {
                    *y = t.mul_add(*alpha, *gamma) * (x * r);
                }
                numbers.copy_from_slice(&[r, t]);
            },
        );
    });
}

/// (r, t, m, q) from x, γ, α, (r, t) and dy.
pub(super) fn along(width: usize, inputs: &[&[f32]], along: &mut [f32]) {
    let [x, gamma, alpha, numbers, dy] = inputs else { unreachable!("five inputs") };
    let rows = x.par_chunks(width).zip(dy.par_chunks(width)).zip(numbers.par_chunks(2));
    let rows = along.par_chunks_mut(4).zip(rows);
    rows.with_min_len(rows_per_block(width)).for_each(|(along, ((x, dy), numbers))| {
        let [r, t] = [numbers[0], numbers[1]];
        simd(
            #[inline(always)]
            || {
                let own = [x, dy, alpha, gamma];
                let mean = sum(own, |[x, dy, alpha, gamma]| dy * (x * r) * t.mul_add(alpha, gamma));
                let pull = sum([x, dy, alpha], |[x, dy, alpha]| dy * (x * r) * alpha);
                along.copy_from_slice(&[r, t, mean / width as f32, pull * (1.0 - t * t)]);
            },
        );
    });
}

/// dx from x, γ, α, b, (r, t, m, q), dy and what is added to it.
pub(super) fn backward(width: usize, inputs: &[&[f32]], dx: &mut [f32]) {
    let [x, gamma, alpha, beta, along, dy, addend @ ..] = inputs else { unreachable!("six inputs and more") };
    let rows = dx.par_chunks_mut(width).enumerate().with_min_len(rows_per_block(width));
    rows.for_each(|(row, dx)| {
        let own = row * width..(row + 1) * width;
        let (x, dy) = (&x[own.clone()], &dy[own.clone()]);
        let [r, t, m, q] = [0, 1, 2, 3].map(|at| along[4 * row + at]);
        simd(
            #[inline(always)]
            || {
                let vectors = gamma.iter().zip(alpha.iter().zip(*beta));
                for ((dx, (x, dy)), (gamma, (alpha, beta))) in
                    dx.iter_mut().zip(x.iter().zip(dy)).zip(vectors)
                {
                    let h = dy * t.mul_add(*alpha, *gamma);
                    *dx = q.mul_add(*beta, r * (x * r).mul_add(-m, h));
                }
                if let Some(addend) = addend.first() {
                    dx.iter_mut().zip(&addend[own.clone()]).for_each(|(dx, addend)| *dx += addend);
                }
            },
        );
    });
}

/// Adds to dγ, dα and db, from x, (r, t, m, q) and dy. Each block of rows has sums of its own, which are added in their order.
pub(super) fn parameters(width: usize, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
    let [x, along, dy] = inputs else { unreachable!("three inputs") };
    let rows = rows_per_block(width).max(32);
    let blocks = x.par_chunks(rows * width).zip(dy.par_chunks(rows * width)).zip(along.par_chunks(4 * rows));
    let sums = blocks.map(|((x, dy), along)| {
        let mut sums = [(); 3].map(|()| vec![0.0_f32; width]);
        let [by_gamma, by_alpha, by_beta] = &mut sums;
        simd(
            #[inline(always)]
            || {
                for ((x, dy), along) in x.chunks_exact(width).zip(dy.chunks_exact(width)).zip(along.chunks(4))
                {
                    let (r, t, q) = (along[0], along[1], along[3]);
                    let vectors = by_gamma.iter_mut().zip(by_alpha.iter_mut().zip(by_beta.iter_mut()));
                    for ((gamma, (alpha, beta)), (x, dy)) in vectors.zip(x.iter().zip(dy)) {
                        let d = dy * (x * r);
                        *gamma += d;
                        *alpha = t.mul_add(d, *alpha);
                        *beta = q.mul_add(*x, *beta);
                    }
                }
            },
        );
        sums
    });
    for sums in sums.collect::<Vec<_>>() {
        for (to, from) in outputs.iter_mut().zip(sums) {
            to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        }
    }
}
