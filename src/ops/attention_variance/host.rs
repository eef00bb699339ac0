//! ‖W_V·W_O‖²_F on the CPU: threads share rows of the product, whose squares are added in their order.

use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// Rows of the product that one pass over W_O makes.
const ROWS: usize = 4;

pub(super) fn squares(packed: &[f32], columns: usize, output: &[f32], width: usize) -> f64 {
    let blocks = packed.par_chunks(ROWS * columns).with_min_len(rows_per_block(width * width / ROWS));
    let sums = blocks.map(|rows| {
        let mut product = vec![0.0_f32; ROWS * width];
        simd(
            #[inline(always)]
            || {
                for (row, product) in rows.chunks_exact(columns).zip(product.chunks_exact_mut(width)) {
                    for (v, o) in row[columns - width..].iter().zip(output.chunks_exact(width)) {
                        product.iter_mut().zip(o).for_each(|(sum, o)| *sum = v.mul_add(*o, *sum));
                    }
                }
            },
        );
        product.iter().map(|&v| f64::from(v) * f64::from(v)).sum::<f64>()
    });
    sums.collect::<Vec<f64>>().into_iter().sum()
}
