//! The embedding on the CPU.

use crate::cores::{TASK, rows_per_task, simd};
use rayon::prelude::*;

/// Tokens whose gradients one task adds up, at least.
const TOKENS: usize = 32;

/// x: the row of each token, plus that of its position.
pub(super) fn embed(tokens: &[f32], wte: &[f32], wpe: Option<&[f32]>, sequence: usize, x: &mut [f32]) {
    let width = x.len() / tokens.len();
    let rows = rows_per_task(width);
    let tasks = x.par_chunks_mut(rows * width).zip(tokens.par_chunks(rows));
    tasks.enumerate().for_each(|(i, (x, tokens))| {
        for (at, (x, token)) in x.chunks_exact_mut(width).zip(tokens).enumerate() {
            let row = &wte[token.to_bits() as usize * width..][..width];
            let position = (i * rows + at) % sequence * width;
            match wpe.map(|wpe| &wpe[position..][..width]) {
                None => x.copy_from_slice(row),
                Some(position) => simd(
                    #[inline(always)]
                    || x.iter_mut().zip(row.iter().zip(position)).for_each(|(x, (row, p))| *x = row + p),
                ),
            }
        }
    });
}

/// dwte: a token's rows of dx are added on one thread, in order, to the token's row. The lists are those of
/// [`super::sort_by_token`].
pub(super) fn into_tokens(
    tokens: &[f32],
    sorted: &[f32],
    segments: &[f32],
    dx: &[f32],
    width: usize,
    dwte: &mut [f32],
) {
    let place = |at: usize| sorted[at].to_bits() as usize;
    let starts = segments.windows(2).map(|pair| [pair[0], pair[1]].map(|at| at.to_bits() as usize));
    // Tokens ascend, so the table can be cut into their rows from its start.
    let (mut rest, mut cut) = (dwte, 0);
    let mut rows: Vec<(&mut [f32], &[f32])> = Vec::new();
    for [start, end] in starts.take_while(|[start, end]| start < end) {
        let token = tokens[place(start)].to_bits() as usize;
        let (row, after) = std::mem::take(&mut rest)[(token - cut) * width..].split_at_mut(width);
        (rest, cut) = (after, token + 1);
        rows.push((row, &sorted[start..end]));
    }
    rows.par_iter_mut().with_min_len(TOKENS).for_each(|(total, places)| {
        simd(
            #[inline(always)]
            || {
                for place in *places {
                    let dx = &dx[place.to_bits() as usize * width..][..width];
                    total.iter_mut().zip(dx).for_each(|(total, dx)| *total += dx);
                }
            },
        );
    });
}

/// dwpe: each position's row plus those of dx in all sequences, in order.
pub(super) fn into_positions(dx: &[f32], first: &mut [f32]) {
    let whole = first.len();
    let sequences = dx.len() / whole;
    let each = (TASK / sequences).max(TASK / 256);
    first.par_chunks_mut(each).enumerate().for_each(|(i, total)| {
        simd(
            #[inline(always)]
            || {
                for sequence in dx.chunks_exact(whole) {
                    let dx = &sequence[i * each..][..total.len()];
                    total.iter_mut().zip(dx).for_each(|(total, dx)| *total += dx);
                }
            },
        );
    });
}
