//! The shares of saturated elements on the CPU: blocks are counted by threads, and added up in whole numbers.

use super::THRESHOLDS;
use crate::cores::functions::sum;
use crate::cores::{BLOCK, simd};
use rayon::prelude::*;

pub(super) fn measure(x: &[f32], gamma: &[f32], [alpha, shift]: [f32; 2], out: &mut [f32]) {
    let count = |x: &[f32]| {
        simd(
            #[inline(always)]
            || {
                THRESHOLDS.map(|threshold| {
                    let threshold = threshold as f32;
                    let above = |&x: &f32| u32::from(alpha.mul_add(x, shift).abs() > threshold);
                    u64::from(x.iter().map(above).sum::<u32>())
                })
            },
        )
    };
    let counts: Vec<[u64; 4]> = x.par_chunks(BLOCK).map(count).collect();
    for (at, out) in out[..THRESHOLDS.len()].iter_mut().enumerate() {
        let above: u64 = counts.iter().map(|counts| counts[at]).sum();
        *out = (above as f64 / x.len() as f64) as f32;
    }
    out[THRESHOLDS.len()] = sum([gamma], |[v]| v) / gamma.len() as f32;
}
