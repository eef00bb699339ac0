//! Attention on the CPU, in f32: a task for some heads, side by side, of a batch element.
//!
//! A head's rows are copied into panels of 16 columns, and its queries also into panels of 16 queries, so that 16 queries
//! have their scores with a key side by side: what is summed over keys is a sum of vectors, and no row is reduced on its
//! own. Only 16 queries' scores exist at a time in the forward pass, and a block of them in the backward pass. All sums
//! have a fixed order: over the keys, the queries or the columns from the first to the last.

mod backward;
mod panels;

pub(super) use backward::backward;

use super::cap::capped_f32;
use super::heads::{Head, Heads};
use crate::cores::functions::{LANES, Lanes, exp_below, ln};
use crate::cores::{Line, Simd, WithSimd, with_simd};
use crate::ops::packed::Part;
use panels::{Panels, mix, products, store};
use rayon::prelude::*;

/// Pairs of a query and a key, times columns, that are too few for a thread of their own.
const FEW: usize = 1 << 18;

/// Divides the rows of all heads: for each batch element and head, its pieces of `width` elements in the order of rows.
fn by_head<'a>(layout: &Heads, rows: &'a mut [f32], parts: usize) -> Vec<Vec<&'a mut [f32]>> {
    let Heads { batch, n_head, sequence, width, .. } = *layout;
    let mut all: Vec<Vec<_>> = (0..batch * n_head).map(|_| Vec::with_capacity(sequence * parts)).collect();
    let elements = rows.chunks_exact_mut(sequence * parts * n_head * width);
    for (heads, element) in all.chunks_exact_mut(n_head).zip(elements) {
        for row in element.chunks_exact_mut(n_head * width) {
            for (head, piece) in heads.iter_mut().zip(row.chunks_exact_mut(width)) {
                head.push(piece);
            }
        }
    }
    all
}

/// How many heads side by side are one task: their parts of a row are read at once, because memory answers a request for
/// half a kilobyte hardly later than one for a line. There are always some tasks for each thread; no bit depends on it.
fn together(layout: &Heads) -> usize {
    const COLUMNS: usize = 128;
    let tasks = 4 * rayon::current_num_threads();
    let fits = |&heads: &usize| {
        let divides = layout.n_head.is_multiple_of(heads) && heads * layout.width <= COLUMNS;
        divides && layout.batch * layout.n_head / heads >= tasks
    };
    (1..=layout.n_head).rev().find(fits).unwrap_or(1)
}

/// How many tasks a thread takes at least.
fn least(layout: &Heads, together: usize) -> usize {
    FEW.div_ceil(layout.sequence * layout.sequence * layout.width).div_ceil(together)
}

/// The forward pass; see [`Attention`](super::Attention).
pub(super) fn forward(layout: &Heads, qkv: &[f32], outputs: &mut [&mut [f32]]) {
    let [output, lse, entropy @ ..] = outputs else { unreachable!("two outputs, or three") };
    let sequence = layout.sequence;
    let entropy = entropy.first_mut().map(|entropy| entropy.chunks_exact_mut(sequence));
    let entropy = entropy.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None));
    let results = by_head(layout, output, 1).into_iter().zip(lse.chunks_exact_mut(sequence)).zip(entropy);
    let mut heads: Vec<_> = (layout.heads().zip(results))
        .map(|(head, ((output, lse), entropy))| Attended { head, output, lse, entropy })
        .collect();
    let together = together(layout);
    heads.par_chunks_mut(together).with_min_len(least(layout, together)).for_each_init(
        || Forward::new(layout, together),
        |scratch, heads| with_simd(Task { scratch, heads, qkv }),
    );
}

/// What the forward pass computes for one head.
struct Attended<'a> {
    head: Head,
    output: Vec<&'a mut [f32]>,
    lse: &'a mut [f32],
    entropy: Option<&'a mut [f32]>,
}

/// Scratch of one thread in the forward pass.
struct Forward {
    heads: Vec<Known>,
    /// 16 queries by columns.
    across: Vec<Line>,
    /// Of 16 queries with each key: scores, then e^(s−m).
    weights: Vec<Line>,
}

/// What the forward pass knows of a head.
struct Known {
    queries: Panels,
    keys: Panels,
    values: Panels,
}

impl Forward {
    fn new(layout: &Heads, together: usize) -> Self {
        let &Heads { sequence, width, .. } = layout;
        let rows = || Panels::new(sequence, width);
        let known = || Known { queries: rows(), keys: rows(), values: rows() };
        let heads: Vec<Known> = (0..together).map(|_| known()).collect();
        let Known { keys, .. } = &heads[0];
        let [across, weights] = [keys.width(), keys.height()].map(|lines| vec![Line::ZERO; lines]);
        Self { heads, across, weights }
    }
}

/// The forward pass of heads side by side.
struct Task<'a, 'b> {
    scratch: &'a mut Forward,
    heads: &'a mut [Attended<'b>],
    qkv: &'a [f32],
}

impl WithSimd for Task<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scratch: Forward { heads: all, across, weights }, heads, qkv } = self;
        let layout = heads[0].head.layout;
        let scale = layout.scale() as f32;
        for t in 0..layout.sequence {
            let row = |head: &Head, part| &qkv[head.packed(t, part)];
            for (known, own) in all.iter_mut().zip(&*heads) {
                known.queries.copy(t, row(&own.head, Part::Query), scale);
            }
            for (known, own) in all.iter_mut().zip(&*heads) {
                known.keys.copy(t, row(&own.head, Part::Key), 1.0);
            }
            for (known, own) in all.iter_mut().zip(&*heads) {
                known.values.copy(t, row(&own.head, Part::Value), 1.0);
            }
        }
        for (known, own) in all.iter().zip(heads) {
            known.attend(simd, (across, weights), own);
        }
    }
}

impl Known {
    #[inline(always)]
    fn attend<S: Simd>(
        &self,
        simd: S,
        (across, weights): (&mut [Line], &mut [Line]),
        result: &mut Attended<'_>,
    ) {
        for (panel, rows) in result.output.chunks_mut(LANES).enumerate() {
            let first = panel * LANES;
            let weights = &mut weights[..first + LANES];
            self.queries.across(first, across);
            products(simd, &self.keys, across, weights);
            if let Some(cap) = result.head.layout.cap {
                for Line(line) in &mut *weights {
                    line.iter_mut().for_each(|s| *s = capped_f32(*s, cap));
                }
            }
            let softmax = softmax(weights);
            let own = first..first + rows.len();
            result.lse[own.clone()].copy_from_slice(&softmax.lse[..rows.len()]);
            if let Some(entropy) = &mut result.entropy {
                entropy[own].copy_from_slice(&softmax.entropy[..rows.len()]);
            }
            for columns in 0..self.values.panels() {
                let sums = mix(simd, weights, self.values.panel(columns));
                for ((row, sums), inverse) in rows.iter_mut().zip(sums).zip(softmax.inverse) {
                    store(row, columns, sums, inverse);
                }
            }
        }
    }
}

/// What the scores of 16 queries come to.
struct Softmax {
    lse: Lanes,
    entropy: Lanes,
    /// 1 / Σ e^(s−m)
    inverse: Lanes,
}

/// Turns the scores of 16 queries with each key into e^(s−m). The last 16 keys are those at the queries' own positions;
/// of them a query sees those up to its own, and the others become zero.
#[inline(always)]
fn softmax(scores: &mut [Line]) -> Softmax {
    let (earlier, own) = scores.split_at_mut(scores.len() - LANES);
    // A sum of s·0 is NaN if a score is not finite.
    let (mut most, mut broken) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
    for Line(line) in &*earlier {
        for l in 0..LANES {
            most[l] = if line[l] > most[l] { line[l] } else { most[l] };
            broken[l] = line[l].mul_add(0.0, broken[l]);
        }
    }
    for (key, Line(line)) in own.iter_mut().enumerate() {
        for l in 0..LANES {
            line[l] = if l >= key { line[l] } else { f32::MIN };
            most[l] = if line[l] > most[l] { line[l] } else { most[l] };
            broken[l] = line[l].mul_add(0.0, broken[l]);
        }
    }
    let (mut sums, mut moments) = ([0.0; LANES], [0.0; LANES]);
    for Line(line) in scores {
        for l in 0..LANES {
            // Not −∞, which times zero would be NaN.
            let distance = line[l] - most[l];
            let distance = if distance < f32::MIN { f32::MIN } else { distance };
            let p = exp_below(distance);
            line[l] = p;
            sums[l] += p;
            moments[l] = p.mul_add(distance, moments[l]);
        }
    }
    let mut softmax = Softmax { lse: most, entropy: broken, inverse: sums };
    for l in 0..LANES {
        let (log, inverse) = (ln(sums[l]), 1.0 / sums[l]);
        softmax.lse[l] = most[l] + log + broken[l];
        softmax.entropy[l] = log - moments[l] * inverse + broken[l];
        softmax.inverse[l] = inverse;
    }
    softmax
}
