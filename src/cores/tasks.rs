//! Work shared among threads in tasks of a fixed size, so that bits do not depend on the number of threads.

use super::simd;
use rayon::prelude::*;

/// Elements of an element-wise task: tens of microseconds, against which a task's own cost is nothing.
pub const TASK: usize = 1 << 15;

/// Elements of a task that computes more with each: fewer are not worth a thread.
pub const BLOCK: usize = 1 << 14;

/// Partial sums of one task. The compiler keeps them in vector registers, whatever their width.
const LANES: usize = 16;

/// Rows of `width` elements that make up one task.
pub fn rows_per_task(width: usize) -> usize {
    (TASK / width.max(1)).max(1)
}

/// Rows of `width` elements that make up one block.
pub fn rows_per_block(width: usize) -> usize {
    BLOCK.div_ceil(width)
}

/// Calls `work` on each task's part of `out`, with the index of its first element.
pub fn fill(out: &mut [f32], work: impl Fn(usize, &mut [f32]) + Sync) {
    out.par_chunks_mut(TASK).enumerate().for_each(|(i, out)| work(i * TASK, out));
}

/// Σ values². In f64 no square overflows, and few roundings matter.
pub fn squares(values: &[f32]) -> f64 {
    let sums: Vec<f64> = values.par_chunks(TASK).map(|values| dot(values, values)).collect();
    sums.iter().sum()
}

/// Σ a·b in f64, on one thread, in an order that follows from the length alone.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    simd(
        #[inline(always)]
        || {
            let mut sums = [0.0_f64; LANES];
            let (a_whole, a_rest) = a.as_chunks::<LANES>();
            let (b_whole, b_rest) = b.as_chunks::<LANES>();
            for (a, b) in a_whole.iter().zip(b_whole) {
                for (sum, (a, b)) in sums.iter_mut().zip(a.iter().zip(b)) {
                    *sum += f64::from(*a) * f64::from(*b);
                }
            }
            for (sum, (a, b)) in sums.iter_mut().zip(a_rest.iter().zip(b_rest)) {
                *sum += f64::from(*a) * f64::from(*b);
            }
            sums.iter().sum()
        },
    )
}
