//! Scaled matrices on the CPU: threads share rows, or blocks of columns.

use crate::cores::{dot, simd};
use crate::ops::unit_clip::Units;
use rayon::prelude::*;

/// `out` is, or with `adds` gets added, `scale` times s of each unit times the matrix x.
pub(super) fn times(
    (units, columns): (Units, usize),
    scale: f32,
    [x, s]: [&[f32]; 2],
    out: &mut [f32],
    adds: bool,
) {
    let rows = out.par_chunks_exact_mut(columns).zip(x.par_chunks_exact(columns)).enumerate();
    rows.for_each(|(row, (out, x))| {
        simd(
            #[inline(always)]
            || {
                let set = |out: &mut f32, own: f32| *out = if adds { *out + own } else { own };
                match units {
                    Units::Columns => {
                        out.iter_mut().zip(x.iter().zip(s)).for_each(|(out, (x, s))| set(out, scale * s * x));
                    }
                    Units::Rows | Units::Whole => {
                        let factor = scale * s[if units == Units::Rows { row } else { 0 }];
                        out.iter_mut().zip(x).for_each(|(out, x)| set(out, factor * x));
                    }
                }
            },
        );
    });
}

/// `out` is, or with `adds` gets added, `scale` times the sum over each unit of the products of two matrices. Sums are of f64.
pub(super) fn sums(
    (units, columns): (Units, usize),
    scale: f32,
    [w, d]: [&[f32]; 2],
    out: &mut [f32],
    adds: bool,
) {
    /// Columns that one task sums.
    const EACH: usize = 64;
    let set = |out: &mut f32, sum: f64| {
        let before = if adds { f64::from(*out) } else { 0.0 };
        *out = (before + f64::from(scale) * sum) as f32;
    };
    match units {
        Units::Rows => {
            let rows = w.par_chunks_exact(columns).zip(d.par_chunks_exact(columns));
            out.par_iter_mut().zip(rows).for_each(|(out, (w, d))| set(out, dot(w, d)));
        }
        Units::Columns => out.par_chunks_mut(EACH).enumerate().for_each(|(task, out)| {
            let own = task * EACH..task * EACH + out.len();
            let mut sums = [0.0_f64; EACH];
            simd(
                #[inline(always)]
                || {
                    for (w, d) in w.chunks_exact(columns).zip(d.chunks_exact(columns)) {
                        let products = w[own.clone()].iter().zip(&d[own.clone()]);
                        let products = products.map(|(&w, &d)| f64::from(w) * f64::from(d));
                        sums.iter_mut().zip(products).for_each(|(sum, product)| *sum += product);
                    }
                },
            );
            out.iter_mut().zip(sums).for_each(|(out, sum)| set(out, sum));
        }),
        Units::Whole => set(&mut out[0], dot(w, d)),
    }
}
