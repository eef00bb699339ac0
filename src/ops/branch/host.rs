//! Branches on the CPU, in f32: threads share blocks of rows. `s` is one number, or one for each column.

use crate::cores::{dot, rows_per_task, simd};
use rayon::prelude::*;

/// z = x + s·y.
pub(super) fn sum(width: usize, z: &mut [f32], [x, y]: [&[f32]; 2], s: &[f32]) {
    let block = rows_per_task(width) * width;
    let blocks = z.par_chunks_mut(block).zip(x.par_chunks(block).zip(y.par_chunks(block)));
    blocks.for_each(|(z, (x, y))| {
        simd(
            #[inline(always)]
            || {
                if let [s] = s {
                    z.iter_mut().zip(x.iter().zip(y)).for_each(|(z, (x, y))| *z = x + s * y);
                    return;
                }
                let rows = z.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(y.chunks_exact(width)));
                for (z, (x, y)) in rows {
                    let columns = z.iter_mut().zip(s).zip(x.iter().zip(y));
                    columns.for_each(|((z, s), (x, y))| *z = x + s * y);
                }
            },
        );
    });
}

/// dy = s·dz.
pub(super) fn times(width: usize, dy: &mut [f32], dz: &[f32], s: &[f32]) {
    let block = rows_per_task(width) * width;
    dy.par_chunks_mut(block).zip(dz.par_chunks(block)).for_each(|(dy, dz)| {
        simd(
            #[inline(always)]
            || {
                if let [s] = s {
                    dy.iter_mut().zip(dz).for_each(|(dy, dz)| *dy = s * dz);
                    return;
                }
                for (dy, dz) in dy.chunks_exact_mut(width).zip(dz.chunks_exact(width)) {
                    dy.iter_mut().zip(s.iter().zip(dz)).for_each(|(dy, (s, dz))| *dy = s * dz);
                }
            },
        );
    });
}

/// ds from y and dz. Each block of rows has sums of its own, which are added in f64 in their order.
pub(super) fn factor(width: usize, accumulate: bool, [y, dz]: [&[f32]; 2], ds: &mut [f32]) {
    let block = rows_per_task(width).min(256) * width;
    let blocks = y.par_chunks(block).zip(dz.par_chunks(block));
    let sums: Vec<Vec<f64>> = if ds.len() == 1 {
        blocks.map(|(y, dz)| vec![dot(y, dz)]).collect()
    } else {
        let of_block = |(y, dz): (&[f32], &[f32])| {
            let mut sums = vec![0.0_f32; width];
            simd(
                #[inline(always)]
                || {
                    for (y, dz) in y.chunks_exact(width).zip(dz.chunks_exact(width)) {
                        let columns = sums.iter_mut().zip(y.iter().zip(dz));
                        columns.for_each(|(sum, (y, dz))| *sum = y.mul_add(*dz, *sum));
                    }
                },
            );
            sums.into_iter().map(f64::from).collect()
        };
        blocks.map(of_block).collect()
    };
    for (c, ds) in ds.iter_mut().enumerate() {
        let before = if accumulate { f64::from(*ds) } else { 0.0 };
        *ds = (before + sums.iter().map(|sums| sums[c]).sum::<f64>()) as f32;
    }
}
