//! Statistics of heads on the CPU, in f32: a task for each head of each sequence.

use super::{Extents, QUANTITIES, QUARTERS, RECENT};
use crate::cores::functions::{LANES, Lanes, exp, maximum, sum};
use crate::cores::simd;
use crate::ops::attention::capped_f32;
use crate::ops::packed::Part;
use rayon::prelude::*;

/// What one head does in one sequence: the largest logit, sums over its queries, and whether all rows were finite.
struct Share {
    largest: f32,
    sums: [f64; QUANTITIES - 1],
    finite: bool,
}

pub(super) fn survey(extents: &Extents, cap: Option<f32>, [qkv, lse]: [&[f32]; 2], out: &mut [f32]) {
    let heads = extents.packed.heads;
    let all: Vec<(usize, usize)> = (0..heads).flat_map(|h| (0..extents.batch).map(move |b| (b, h))).collect();
    let shares: Vec<Share> = all
        .into_par_iter()
        .map(|head| {
            simd(
                #[inline(always)]
                || of_head(extents, cap, head, [qkv, lse]),
            )
        })
        .collect();
    for (h, shares) in shares.chunks_exact(extents.batch).enumerate() {
        let finite = shares.iter().all(|share| share.finite);
        let sums = (0..QUANTITIES - 1).map(|quantity| {
            let sum: f64 = shares.iter().map(|share| share.sums[quantity]).sum();
            (sum / extents.counted(quantity + 1) as f64) as f32
        });
        let largest = shares.iter().map(|share| share.largest).fold(f32::NEG_INFINITY, f32::max);
        for (quantity, value) in std::iter::once(largest).chain(sums).enumerate() {
            out[quantity * heads + h] = if finite { value } else { f32::NAN };
        }
    }
}

#[inline(always)]
fn of_head(extents: &Extents, cap: Option<f32>, head: (usize, usize), [qkv, lse]: [&[f32]; 2]) -> Share {
    let Extents { sequence, packed, .. } = *extents;
    let width = packed.width;
    // Keys by columns: lines of 16 keys, panel after panel.
    let mut keys: Vec<Lanes> = vec![[0.0; LANES]; sequence.div_ceil(LANES) * width];
    for t in 0..sequence {
        let panel = &mut keys[t / LANES * width..][..width];
        for (line, &value) in panel.iter_mut().zip(&qkv[extents.row(head, t, Part::Key)]) {
            line[t % LANES] = value;
        }
    }
    let mut scores: Vec<Lanes> = vec![[0.0; LANES]; sequence.div_ceil(LANES)];
    let scale = extents.scale() as f32;
    let mut share = Share { largest: f32::NEG_INFINITY, sums: [0.0; QUANTITIES - 1], finite: true };
    for t in 0..sequence {
        let query = &qkv[extents.row(head, t, Part::Query)];
        for (scores, panel) in scores[..=t / LANES].iter_mut().zip(keys.chunks_exact(width)) {
            *scores = [0.0; LANES];
            for (&q, line) in query.iter().zip(panel) {
                for l in 0..LANES {
                    scores[l] = q.mul_add(line[l], scores[l]);
                }
            }
            for score in scores.iter_mut() {
                *score *= scale;
            }
            if let Some(cap) = cap {
                scores.iter_mut().for_each(|score| *score = capped_f32(*score, cap));
            }
        }
        let scores = &scores.as_flattened()[..=t];
        let count = scores.len() as f32;
        let mean = sum([scores], |[s]| s) / count;
        let lse = lse[extents.line(head, t)];
        let recent = &scores[scores.len().saturating_sub(RECENT)..];
        share.finite &= lse.is_finite();
        share.largest = share.largest.max(maximum(scores));
        share.sums[0] += f64::from(sum([scores], |[s]| (s - mean) * (s - mean)) / count);
        share.sums[1] += f64::from(exp(scores[0] - lse));
        share.sums[2] += f64::from(sum([recent], |[s]| exp(s - lse)));
        if t > 0 {
            let entropy = f64::from(sum([scores], |[s]| exp(s - lse) * (lse - s)));
            share.sums[QUANTITIES - QUARTERS - 1 + extents.quarter(t)] += entropy / f64::from(count).ln();
        }
    }
    share
}
