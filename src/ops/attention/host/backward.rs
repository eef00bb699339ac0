//! The backward pass of attention on the CPU; see [`AttentionBackward`](crate::ops::attention::AttentionBackward).

use super::{BLOCK, Panels, TILE, across, add_corner, add_product, by_head, least, over_keys, padded};
use crate::cores::functions::{LANES, Lanes, exp, sum};
use crate::cores::simd;
use crate::ops::attention::cap::{capped_f32, slope_f32};
use crate::ops::attention::heads::{Head, Heads};
use crate::ops::packed::Part;
use rayon::prelude::*;
use std::array::from_fn;

/// Computes d_qkv from the inputs of the op.
pub(in crate::ops::attention) fn backward(layout: &Heads, inputs: &[&[f32]], d_qkv: &mut [f32]) {
    let tasks: Vec<_> = layout.heads().zip(by_head(layout, d_qkv, Part::ALL.len())).collect();
    tasks.into_par_iter().with_min_len(least(layout)).for_each_init(
        || Backward::new(layout),
        |scratch, (head, mut rows)| match *inputs {
            [qkv, output, lse, d_output] => {
                let known = Known { qkv, output, lse, d_output, guide: [&[]; 2] };
                scratch.run_with::<false>(&head, &known, &mut rows);
            }
            [qkv, output, lse, d_output, entropy, d_entropy] => {
                let known = Known { qkv, output, lse, d_output, guide: [entropy, d_entropy] };
                scratch.run_with::<true>(&head, &known, &mut rows);
            }
            _ => unreachable!("four inputs, or six"),
        },
    );
}

/// The inputs of the op.
struct Known<'a> {
    qkv: &'a [f32],
    output: &'a [f32],
    lse: &'a [f32],
    d_output: &'a [f32],
    /// Entropy and d_entropy.
    guide: [&'a [f32]; 2],
}

/// Scratch of one thread.
struct Backward {
    /// Keys and values by columns, for products with queries and d_output.
    keys_across: Panels,
    values_across: Panels,
    keys: Panels,
    queries: Panels,
    d_outputs: Panels,
    d_keys: Panels,
    d_values: Panels,
    /// Probabilities and the scores' gradients of a block of queries, row after row.
    weights: Vec<Lanes>,
    d_scores: Vec<Lanes>,
}

impl Backward {
    fn new(layout: &Heads) -> Self {
        let Heads { sequence, width, .. } = *layout;
        let rows = padded(sequence);
        let [keys_across, values_across] = from_fn(|_| Panels::new(width, rows));
        let [keys, queries, d_outputs, d_keys, d_values] = from_fn(|_| Panels::new(rows, width));
        let [weights, d_scores] = from_fn(|_| vec![[0.0; LANES]; BLOCK * rows / LANES]);
        Self { keys_across, values_across, keys, queries, d_outputs, d_keys, d_values, weights, d_scores }
    }

    /// Runs one head, with or without a cap.
    fn run_with<const GUIDED: bool>(&mut self, head: &Head, known: &Known<'_>, rows: &mut [&mut [f32]]) {
        match head.layout.cap {
            None => simd(
                #[inline(always)]
                || self.run::<GUIDED, false>(head, known, rows),
            ),
            Some(_) => simd(
                #[inline(always)]
                || self.run::<GUIDED, true>(head, known, rows),
            ),
        }
    }

    /// `rows` are the head's rows of d_qkv: query, key and value in turn.
    #[inline(always)]
    fn run<const GUIDED: bool, const CAPPED: bool>(
        &mut self,
        head: &Head,
        known: &Known<'_>,
        rows: &mut [&mut [f32]],
    ) {
        let sequence = head.layout.sequence;
        self.keys_across.transpose(head.rows(known.qkv, Part::Key));
        self.values_across.transpose(head.rows(known.qkv, Part::Value));
        self.keys.copy(head.rows(known.qkv, Part::Key));
        self.queries.copy(head.rows(known.qkv, Part::Query));
        self.d_outputs.copy((0..sequence).map(|t| &known.d_output[head.out(t)]));
        self.d_keys.lines.fill([0.0; LANES]);
        self.d_values.lines.fill([0.0; LANES]);
        for block in (0..sequence).step_by(BLOCK) {
            let end = sequence.min(block + BLOCK);
            for first in (block..end).step_by(TILE) {
                self.scores::<GUIDED, CAPPED>(head, known, block, first);
                self.query_gradients(block, first, rows);
            }
            self.key_gradients(block..end);
        }
        for (t, row) in rows.chunks_exact_mut(Part::ALL.len()).enumerate() {
            let [_, d_key, d_value] = row else { unreachable!("three parts") };
            for (to, from) in [(d_key, &self.d_keys), (d_value, &self.d_values)] {
                for (panel, part) in to.chunks_mut(LANES).enumerate() {
                    part.copy_from_slice(&from.panel(panel)[t][..part.len()]);
                }
            }
        }
    }

    /// Lines between the block's rows.
    #[inline(always)]
    fn stride(&self) -> usize {
        self.weights.len() / BLOCK
    }

    /// Four rows of probabilities, and of the gradients of the products of query and key.
    #[inline(always)]
    fn scores<const GUIDED: bool, const CAPPED: bool>(
        &mut self,
        head: &Head,
        known: &Known<'_>,
        block: usize,
        first: usize,
    ) {
        let cap = head.layout.cap.unwrap_or(1.0);
        let (width, scale) = (head.layout.width, head.layout.scale() as f32);
        let tile = head.tile(first);
        let queries = tile.map(|t| &known.qkv[head.packed(t, Part::Query)]);
        let d_outputs = tile.map(|t| &known.d_output[head.out(t)]);
        let lse = tile.map(|t| known.lse[head.line(t)]);
        let pull = tile.map(|t| if GUIDED { known.guide[1][head.line(t)] } else { 0.0 });
        let mut delta =
            tile.map(|t| sum([&known.d_output[head.out(t)], &known.output[head.out(t)]], |[d, o]| d * o));
        if GUIDED {
            for (r, &t) in tile.iter().enumerate() {
                delta[r] = pull[r].mul_add(known.guide[0][head.line(t)], delta[r]);
            }
        }
        let (stride, last) = (self.stride(), first / LANES);
        for panel in 0..=last {
            let zeros = [[0.0; LANES]; TILE];
            let keys = self.keys_across.panel(panel).iter();
            let products = add_product(zeros, across(queries, width), keys);
            let values = self.values_across.panel(panel).iter();
            let d_weights = add_product(zeros, across(d_outputs, width), values);
            for r in 0..TILE {
                let at = (first - block + r) * stride + panel;
                let (weights, d_scores) = (&mut self.weights[at], &mut self.d_scores[at]);
                let seen = if panel == last { first % LANES + r + 1 } else { LANES };
                for l in 0..LANES {
                    let s = if CAPPED { capped_f32(products[r][l] * scale, cap) } else { 0.0 };
                    let log_p = if CAPPED { s - lse[r] } else { products[r][l].mul_add(scale, -lse[r]) };
                    let p = exp(log_p);
                    let mut d_p = d_weights[r][l] - delta[r];
                    if GUIDED {
                        d_p = pull[r].mul_add(-log_p, d_p);
                    }
                    if CAPPED {
                        d_p *= slope_f32(s, cap);
                    }
                    weights[l] = if l < seen { p } else { 0.0 };
                    d_scores[l] = if l < seen { p * d_p * scale } else { 0.0 };
                }
            }
        }
    }

    #[inline(always)]
    fn query_gradients(&self, block: usize, first: usize, rows: &mut [&mut [f32]]) {
        let stride = self.stride();
        let d_scores = from_fn(|r| self.d_scores[(first - block + r) * stride..][..stride].as_flattened());
        let panels = self.keys.lines.len() / self.keys.height;
        for panel in 0..panels {
            let sums = over_keys(first, d_scores, self.keys.panel(panel));
            let tile = rows[first * Part::ALL.len()..].iter_mut().step_by(Part::ALL.len());
            for (to, sums) in tile.zip(sums) {
                let to = &mut to[panel * LANES..];
                let columns = to.len().min(LANES);
                to[..columns].copy_from_slice(&sums[..columns]);
            }
        }
    }

    /// Adds what the queries of a block contribute to the gradients of keys and values.
    #[inline(always)]
    fn key_gradients(&mut self, block: std::ops::Range<usize>) {
        let stride = self.stride();
        let each = [
            (&self.d_scores, &self.queries, &mut self.d_keys),
            (&self.weights, &self.d_outputs, &mut self.d_values),
        ];
        for (coefficients, lines, to) in each {
            let panels = lines.lines.len() / lines.height;
            for first in (0..block.end).step_by(TILE) {
                // Queries at the keys' own positions see some of them, later ones all.
                let corner = if first < block.start { block.start..block.start } else { first..first + TILE };
                let corner = corner.start..corner.end.min(block.end);
                let column = |query: usize| {
                    let rows = coefficients[(query - block.start) * stride..].chunks_exact(stride);
                    rows.map(move |row| {
                        *row[first / LANES][first % LANES..].first_chunk().expect("tiles divide lines")
                    })
                };
                for panel in 0..panels {
                    let lines = lines.panel(panel);
                    let to = &mut to.lines[panel * to.height + first..][..TILE];
                    let mut sums = from_fn(|r| to[r]);
                    if !corner.is_empty() {
                        let lines = lines[corner.clone()].iter();
                        sums = add_corner(sums, column(corner.start), lines, |key, query| key <= query);
                    }
                    if corner.end < block.end {
                        let lines = lines[corner.end..block.end].iter();
                        sums = add_product(sums, column(corner.end), lines);
                    }
                    to.copy_from_slice(&sums);
                }
            }
        }
    }
}
