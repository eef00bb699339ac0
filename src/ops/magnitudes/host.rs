//! Magnitudes on the CPU. As bits without the sign, magnitudes are whole numbers in the same order, and NaN is the largest.

use crate::cores::{TASK, dot, simd};
use rayon::prelude::*;

/// The bits of a magnitude, and the digits that the search for a rank goes through, each 11 bits or fewer.
const BITS: u32 = 31;
const DIGITS: [u32; 3] = [11, 10, 10];
/// Values of the longest digit.
const BINS: usize = 1 << 11;

#[inline(always)]
fn magnitude(value: f32) -> u32 {
    value.to_bits() & (u32::MAX >> 1)
}

/// √Σ x² and the largest magnitude over all parts of x.
pub(super) fn norm_and_largest(parts: &[&[f32]]) -> [f32; 2] {
    let tasks: Vec<&[f32]> = parts.iter().flat_map(|part| part.chunks(TASK)).collect();
    let found = tasks.par_iter().map(|values| {
        let largest = simd(
            #[inline(always)]
            || values.iter().fold(0, |most, &value| magnitude(value).max(most)),
        );
        // A task's values are still in the cache.
        (dot(values, values), largest)
    });
    let found: Vec<(f64, u32)> = found.collect();
    let squares: f64 = found.iter().map(|&(squares, _)| squares).sum();
    let largest = found.iter().map(|&(_, largest)| largest).max();
    [squares.sqrt() as f32, f32::from_bits(largest.unwrap_or(0))]
}

/// The magnitude of rank ⌊(n − 1)/2⌋: its digits one after the other, each by counting the elements that share those before.
pub(super) fn median(x: &[f32]) -> f32 {
    let mut rank = (x.len() - 1) / 2;
    let (mut known, mut left) = (0, BITS);
    for digits in DIGITS {
        let before = left;
        left -= digits;
        let last = (1 << digits) - 1;
        let count = |mut bins: Vec<usize>, values: &[f32]| {
            for value in values.iter().map(|&value| magnitude(value)) {
                if value >> before == known {
                    bins[((value >> left) & last) as usize] += 1;
                }
            }
            bins
        };
        let sum = |mut a: Vec<usize>, b: Vec<usize>| {
            a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            a
        };
        let bins = || vec![0; BINS];
        let counts = x.par_chunks(TASK).fold(bins, count).reduce(bins, sum);
        let mut digit = 0;
        while rank >= counts[digit] {
            rank -= counts[digit];
            digit += 1;
        }
        known = (known << digits) | digit as u32;
    }
    f32::from_bits(known)
}
