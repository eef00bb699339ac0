//! The backward pass of attention on the CPU; see [`AttentionBackward`](crate::ops::attention::AttentionBackward).

use super::panels::{Panels, add_queries, mix, products, store};
use super::{by_head, least, together};
use crate::cores::functions::{LANES, Lanes, exp_below, sum};
use crate::cores::{Line, Simd, WithSimd, with_simd};
use crate::ops::attention::cap::{capped_f32, slope_f32};
use crate::ops::attention::heads::{Head, Heads};
use crate::ops::packed::Part;
use rayon::prelude::*;
use std::array::from_fn;

/// Panels of queries whose probabilities exist at a time.
const BLOCK: usize = 2;

/// Computes d_qkv from the inputs of the op.
pub(in crate::ops::attention) fn backward(layout: &Heads, inputs: &[&[f32]], d_qkv: &mut [f32]) {
    let mut heads: Vec<_> = layout.heads().zip(by_head(layout, d_qkv, Part::ALL.len())).collect();
    let together = together(layout);
    heads.par_chunks_mut(together).with_min_len(least(layout, together)).for_each_init(
        || Backward::new(layout, together),
        |scratch, heads| {
            let (given, guided) = match *inputs {
                [qkv, output, lse, d_output] => {
                    (Given { qkv, output, lse, d_output, guide: [&[]; 2] }, false)
                }
                [qkv, output, lse, d_output, entropy, d_entropy] => {
                    (Given { qkv, output, lse, d_output, guide: [entropy, d_entropy] }, true)
                }
                _ => unreachable!("four inputs, or six"),
            };
            match (guided, layout.cap.is_some()) {
                (false, false) => with_simd(Task::<false, false> { scratch, heads, given }),
                (true, false) => with_simd(Task::<true, false> { scratch, heads, given }),
                (false, true) => with_simd(Task::<false, true> { scratch, heads, given }),
                (true, true) => with_simd(Task::<true, true> { scratch, heads, given }),
            }
        },
    );
}

/// The inputs of the op.
struct Given<'a> {
    qkv: &'a [f32],
    output: &'a [f32],
    lse: &'a [f32],
    d_output: &'a [f32],
    /// Entropy and d_entropy.
    guide: [&'a [f32]; 2],
}

/// Scratch of one thread.
struct Backward {
    heads: Vec<Known>,
    /// 16 queries, or rows of d_output, by columns.
    across: Vec<Line>,
    d_keys: Panels,
    d_values: Panels,
    /// Of a block of queries with each key: probabilities, and the gradients of the scores.
    weights: [Vec<Line>; BLOCK],
    d_scores: [Vec<Line>; BLOCK],
}

/// What the backward pass knows of a head.
struct Known {
    /// Times the scale.
    queries: Panels,
    d_outputs: Panels,
    keys: Panels,
    values: Panels,
    /// For panels of 16 queries: lse, Σ d_output·output with the entropy's part, d_entropy.
    lse: Vec<Lanes>,
    delta: Vec<Lanes>,
    pull: Vec<Lanes>,
}

impl Backward {
    fn new(layout: &Heads, together: usize) -> Self {
        let &Heads { sequence, width, .. } = layout;
        let rows = || Panels::new(sequence, width);
        let (d_keys, d_values) = (rows(), rows());
        let lines = || vec![Line::ZERO; d_keys.height()];
        let lanes = || vec![[0.0; LANES]; d_keys.height() / LANES];
        let known = || Known {
            queries: rows(),
            d_outputs: rows(),
            keys: rows(),
            values: rows(),
            lse: lanes(),
            delta: lanes(),
            pull: lanes(),
        };
        let heads = (0..together).map(|_| known()).collect();
        let [weights, d_scores] = from_fn(|_| from_fn(|_| lines()));
        Self { heads, across: vec![Line::ZERO; d_keys.width()], d_keys, d_values, weights, d_scores }
    }
}

/// The backward pass of heads side by side, each with its rows of d_qkv: query, key and value in turn.
struct Task<'a, 'b, const GUIDED: bool, const CAPPED: bool> {
    scratch: &'a mut Backward,
    heads: &'a mut [(Head, Vec<&'b mut [f32]>)],
    given: Given<'a>,
}

impl<const GUIDED: bool, const CAPPED: bool> WithSimd for Task<'_, '_, GUIDED, CAPPED> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { scratch, heads, given } = self;
        let layout = heads[0].0.layout;
        let scale = layout.scale() as f32;
        let all = &mut scratch.heads;
        for t in 0..layout.sequence {
            let row = |head: &Head, part| &given.qkv[head.packed(t, part)];
            for (known, (head, _)) in all.iter_mut().zip(&*heads) {
                known.queries.copy(t, row(head, Part::Query), scale);
            }
            for (known, (head, _)) in all.iter_mut().zip(&*heads) {
                known.keys.copy(t, row(head, Part::Key), 1.0);
            }
            for (known, (head, _)) in all.iter_mut().zip(&*heads) {
                known.values.copy(t, row(head, Part::Value), 1.0);
            }
            for (known, (head, _)) in all.iter_mut().zip(&*heads) {
                known.take_output::<GUIDED>(t, head, &given);
            }
        }
        for (head, (_, rows)) in heads.iter_mut().enumerate() {
            let cap = layout.cap.unwrap_or(1.0);
            scratch.gradients::<S, GUIDED, CAPPED>(simd, head, (scale, cap), rows);
        }
    }
}

impl Known {
    /// Takes what is given of a row's output.
    #[inline(always)]
    fn take_output<const GUIDED: bool>(&mut self, t: usize, head: &Head, given: &Given<'_>) {
        let (output, d_output) = (&given.output[head.out(t)], &given.d_output[head.out(t)]);
        self.d_outputs.copy(t, d_output, 1.0);
        let (panel, lane, line) = (t / LANES, t % LANES, head.line(t));
        let mut delta = sum([d_output, output], |[d, o]| d * o);
        if GUIDED {
            let [entropy, d_entropy] = given.guide;
            self.pull[panel][lane] = d_entropy[line];
            delta = d_entropy[line].mul_add(entropy[line], delta);
        }
        self.lse[panel][lane] = given.lse[line];
        self.delta[panel][lane] = delta;
    }
}

impl Backward {
    #[inline(always)]
    fn gradients<S: Simd, const GUIDED: bool, const CAPPED: bool>(
        &mut self,
        simd: S,
        head: usize,
        (scale, cap): (f32, f32),
        rows: &mut [&mut [f32]],
    ) {
        self.d_keys.clear();
        self.d_values.clear();
        let panels = self.d_keys.height() / LANES;
        for block in (0..panels).step_by(BLOCK) {
            let end = panels.min(block + BLOCK);
            for panel in block..end {
                self.scores::<S, GUIDED, CAPPED>(simd, head, panel, cap);
                self.query_gradients(simd, head, panel, scale, rows);
            }
            let known = &self.heads[head];
            add_queries(simd, &mut self.d_keys, &self.d_scores, &known.queries, block..end);
            add_queries(simd, &mut self.d_values, &self.weights, &known.d_outputs, block..end);
        }
        for (t, row) in rows.chunks_exact_mut(Part::ALL.len()).enumerate() {
            let [_, d_key, d_value] = row else { unreachable!("three parts") };
            self.d_keys.write(t, d_key);
            self.d_values.write(t, d_value);
        }
    }

    /// Probabilities of 16 queries with each key that one of them sees, and the gradients of the scores.
    #[inline(always)]
    fn scores<S: Simd, const GUIDED: bool, const CAPPED: bool>(
        &mut self,
        simd: S,
        head: usize,
        panel: usize,
        cap: f32,
    ) {
        let known = &self.heads[head];
        let first = panel * LANES;
        let weights = &mut self.weights[panel % BLOCK][..first + LANES];
        let d_scores = &mut self.d_scores[panel % BLOCK][..first + LANES];
        known.queries.across(first, &mut self.across);
        products(simd, &known.keys, &self.across, weights);
        known.d_outputs.across(first, &mut self.across);
        products(simd, &known.values, &self.across, d_scores);
        let turn = Turn { lse: known.lse[panel], delta: known.delta[panel], pull: known.pull[panel], cap };
        let (earlier, own) = weights.split_at_mut(first);
        let (d_earlier, d_own) = d_scores.split_at_mut(first);
        for (weights, d_scores) in earlier.iter_mut().zip(d_earlier) {
            turn.apply::<GUIDED, CAPPED>(weights, d_scores, 0);
        }
        for (key, (weights, d_scores)) in own.iter_mut().zip(d_own).enumerate() {
            turn.apply::<GUIDED, CAPPED>(weights, d_scores, key);
        }
    }

    #[inline(always)]
    fn query_gradients<S: Simd>(
        &self,
        simd: S,
        head: usize,
        panel: usize,
        scale: f32,
        rows: &mut [&mut [f32]],
    ) {
        let (keys, first) = (&self.heads[head].keys, panel * LANES);
        let d_scores = &self.d_scores[panel % BLOCK][..first + LANES];
        for columns in 0..keys.panels() {
            let sums = mix(simd, d_scores, keys.panel(columns));
            let own = rows[first * Part::ALL.len()..].iter_mut().step_by(Part::ALL.len());
            for (row, sums) in own.zip(sums) {
                store(row, columns, sums, scale);
            }
        }
    }
}

/// What 16 queries' scores have in common.
struct Turn {
    lse: Lanes,
    delta: Lanes,
    pull: Lanes,
    /// See [`crate::ops::attention::cap`].
    cap: f32,
}

impl Turn {
    /// Turns the scores with one key into probabilities, and their gradients into those of the scores. The key is seen from
    /// query `from` on.
    #[inline(always)]
    fn apply<const GUIDED: bool, const CAPPED: bool>(
        &self,
        Line(weights): &mut Line,
        Line(d_scores): &mut Line,
        from: usize,
    ) {
        for l in 0..LANES {
            let s = if CAPPED { capped_f32(weights[l], self.cap) } else { weights[l] };
            let log_p = s - self.lse[l];
            let p = exp_below(log_p);
            let mut d_p = d_scores[l] - self.delta[l];
            if GUIDED {
                d_p = self.pull[l].mul_add(-log_p, d_p);
            }
            if CAPPED {
                d_p *= slope_f32(s, self.cap);
            }
            weights[l] = if l >= from { p } else { 0.0 };
            d_scores[l] = if l >= from { p * d_p } else { 0.0 };
        }
    }
}
