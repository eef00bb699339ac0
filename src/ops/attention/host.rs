//! Attention on the CPU, in f32: a task for each head of each batch element.
//!
//! A head's rows are copied into panels of 16 keys or 16 columns, so that each product takes four rows at a time and adds
//! in vectors of 16. Only four rows of scores exist at a time in the forward pass, and a block of them in the backward
//! pass. All sums have a fixed order: over the keys, the queries or the columns from the first to the last.

mod backward;

pub(super) use backward::backward;

use super::cap::capped_f32;
use super::heads::{Head, Heads};
use crate::cores::functions::{LANES, Lanes, exp, largest, total};
use crate::cores::simd;
use crate::ops::packed::Part;
use rayon::prelude::*;
use std::array::from_fn;

/// Rows that a product takes at a time.
const TILE: usize = 4;
/// Queries whose probabilities exist at a time in the backward pass: a multiple of [`LANES`].
const BLOCK: usize = 2 * LANES;
/// Pairs of a query and a key, times columns, that are too few for a thread of their own.
const FEW: usize = 1 << 18;

/// One matrix of a head, 16 elements of each row side by side: panel after panel, each with one line per row.
struct Panels {
    lines: Vec<Lanes>,
    height: usize,
}

impl Panels {
    /// Zeros, for rows of `width` elements.
    fn new(height: usize, width: usize) -> Self {
        Self { lines: vec![[0.0; LANES]; width.div_ceil(LANES) * height], height }
    }

    #[inline(always)]
    fn panel(&self, panel: usize) -> &[Lanes] {
        &self.lines[panel * self.height..][..self.height]
    }

    /// Copies rows.
    #[inline(always)]
    fn copy<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>) {
        for (t, row) in rows.enumerate() {
            for (panel, part) in row.chunks(LANES).enumerate() {
                self.lines[panel * self.height + t][..part.len()].copy_from_slice(part);
            }
        }
    }

    /// Copies the columns of `rows` as rows.
    #[inline(always)]
    fn transpose<'a>(&mut self, rows: impl Iterator<Item = &'a [f32]>) {
        for (t, row) in rows.enumerate() {
            let panel = &mut self.lines[t / LANES * self.height..][..row.len()];
            for (line, &value) in panel.iter_mut().zip(row) {
                line[t % LANES] = value;
            }
        }
    }
}

/// Four rows' elements, from the first on.
#[inline(always)]
fn across(rows: [&[f32]; TILE], columns: usize) -> impl Iterator<Item = [f32; TILE]> {
    let rows = rows.map(|row| &row[..columns]);
    (0..columns).map(move |k| [rows[0][k], rows[1][k], rows[2][k], rows[3][k]])
}

/// Adds each line times the coefficient of each of four rows.
#[inline(always)]
fn add_product<'a>(
    mut sums: [Lanes; TILE],
    coefficients: impl Iterator<Item = [f32; TILE]>,
    lines: impl Iterator<Item = &'a Lanes>,
) -> [Lanes; TILE] {
    for (coefficients, line) in coefficients.zip(lines) {
        for r in 0..TILE {
            for l in 0..LANES {
                sums[r][l] = coefficients[r].mul_add(line[l], sums[r][l]);
            }
        }
    }
    sums
}

/// The same where four queries meet the four keys of their own positions: only the pairs for which `seen` of row and step
/// holds. The others are left out rather than multiplied by zero, which would spread their NaN.
#[inline(always)]
fn add_corner<'a>(
    mut sums: [Lanes; TILE],
    coefficients: impl Iterator<Item = [f32; TILE]>,
    lines: impl Iterator<Item = &'a Lanes>,
    seen: impl Fn(usize, usize) -> bool,
) -> [Lanes; TILE] {
    for (step, (coefficients, line)) in coefficients.zip(lines).enumerate() {
        for r in 0..TILE {
            let counts = seen(r, step);
            for l in 0..LANES {
                let sum = coefficients[r].mul_add(line[l], sums[r][l]);
                sums[r][l] = if counts { sum } else { sums[r][l] };
            }
        }
    }
    sums
}

/// Σ_j coefficient_ij line_j of the queries from `first` on, over the keys that each sees.
#[inline(always)]
fn over_keys(first: usize, rows: [&[f32]; TILE], lines: &[Lanes]) -> [Lanes; TILE] {
    let sums = add_product([[0.0; LANES]; TILE], across(rows, first), lines[..first].iter());
    let corner = across(rows.map(|row| &row[first..]), TILE);
    add_corner(sums, corner, lines[first..].iter(), |row, key| key <= row)
}

impl Head {
    /// The rows of a part.
    #[inline(always)]
    fn rows<'a>(&self, qkv: &'a [f32], part: Part) -> impl Iterator<Item = &'a [f32]> {
        (0..self.layout.sequence).map(move |t| &qkv[self.packed(t, part)])
    }

    /// The positions of four rows; beyond the sequence, its last row again.
    #[inline(always)]
    fn tile(&self, first: usize) -> [usize; TILE] {
        from_fn(|r| (first + r).min(self.layout.sequence - 1))
    }
}

/// Lines for the rows of a whole number of tiles and panels.
fn padded(sequence: usize) -> usize {
    sequence.next_multiple_of(LANES)
}

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

/// How many heads a thread takes at least.
fn least(layout: &Heads) -> usize {
    FEW.div_ceil(layout.sequence * layout.sequence * layout.width)
}

/// The forward pass; see [`Attention`](super::Attention).
pub(super) fn forward(layout: &Heads, qkv: &[f32], outputs: &mut [&mut [f32]]) {
    let [output, lse, entropy @ ..] = outputs else { unreachable!("two outputs, or three") };
    let sequence = layout.sequence;
    let entropy = entropy.first_mut().map(|entropy| entropy.chunks_exact_mut(sequence));
    let entropy = entropy.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None));
    let results = by_head(layout, output, 1).into_iter().zip(lse.chunks_exact_mut(sequence)).zip(entropy);
    let tasks: Vec<_> = layout.heads().zip(results).collect();
    tasks.into_par_iter().with_min_len(least(layout)).for_each_init(
        || Forward::new(layout),
        |scratch, (head, ((output, lse), entropy))| {
            let mut result = Attended { output, lse, entropy };
            simd(
                #[inline(always)]
                || scratch.run(&head, qkv, &mut result),
            );
        },
    );
}

/// What the forward pass computes for one head.
struct Attended<'a> {
    output: Vec<&'a mut [f32]>,
    lse: &'a mut [f32],
    entropy: Option<&'a mut [f32]>,
}

/// Scratch of one thread in the forward pass.
struct Forward {
    keys: Panels,
    values: Panels,
    scores: [Vec<Lanes>; TILE],
}

impl Forward {
    fn new(layout: &Heads) -> Self {
        let Heads { sequence, width, .. } = *layout;
        let rows = padded(sequence);
        Self {
            keys: Panels::new(width, rows),
            values: Panels::new(rows, width),
            scores: from_fn(|_| vec![[0.0; LANES]; rows / LANES]),
        }
    }

    #[inline(always)]
    fn run(&mut self, head: &Head, qkv: &[f32], result: &mut Attended<'_>) {
        let Heads { sequence, width, .. } = head.layout;
        let scale = head.layout.scale() as f32;
        self.keys.transpose(head.rows(qkv, Part::Key));
        self.values.copy(head.rows(qkv, Part::Value));
        for first in (0..sequence).step_by(TILE) {
            let queries = head.tile(first).map(|t| &qkv[head.packed(t, Part::Query)]);
            let panels = first / LANES + 1;
            for panel in 0..panels {
                let coefficients = across(queries, width);
                let keys = self.keys.panel(panel).iter();
                let sums = add_product([[0.0; LANES]; TILE], coefficients, keys);
                for (row, sums) in self.scores.iter_mut().zip(sums) {
                    row[panel] = sums;
                }
            }
            let mut inverse = [0.0; TILE];
            for (r, row) in self.scores.iter_mut().enumerate() {
                let row = &mut row[..panels];
                let softmax = match head.layout.cap {
                    None => softmax(row, first + r, scale),
                    Some(cap) => {
                        for lanes in &mut *row {
                            lanes.iter_mut().for_each(|s| *s = capped_f32(*s * scale, cap));
                        }
                        softmax(row, first + r, 1.0)
                    }
                };
                inverse[r] = softmax.inverse;
                if first + r < sequence {
                    result.lse[first + r] = softmax.lse;
                    if let Some(entropy) = &mut result.entropy {
                        entropy[first + r] = softmax.entropy;
                    }
                }
            }
            let weights = from_fn(|r| self.scores[r].as_flattened());
            for (panel, column) in (0..width).step_by(LANES).enumerate() {
                let sums = over_keys(first, weights, self.values.panel(panel));
                for (output, (mut sums, inverse)) in
                    result.output[first..].iter_mut().zip(sums.into_iter().zip(inverse))
                {
                    sums.iter_mut().for_each(|sum| *sum *= inverse);
                    let to = &mut output[column..];
                    let columns = to.len().min(LANES);
                    to[..columns].copy_from_slice(&sums[..columns]);
                }
            }
        }
    }
}

/// What a row's scores come to.
struct Softmax {
    lse: f32,
    entropy: f32,
    /// 1 / Σ e^(s−m)
    inverse: f32,
}

/// Scales the products of query `position` with the keys and turns them into e^(s−m); those after `position` become zero.
#[inline(always)]
fn softmax(row: &mut [Lanes], position: usize, scale: f32) -> Softmax {
    if let Some(last) = row.last_mut() {
        for (l, product) in last.iter_mut().enumerate() {
            *product = if l > position % LANES { f32::MIN } else { *product };
        }
    }
    // A sum of s·0 is NaN if a score is not finite.
    let (mut most, mut broken) = ([f32::NEG_INFINITY; LANES], [0.0; LANES]);
    for lanes in &mut *row {
        for l in 0..LANES {
            let s = lanes[l] * scale;
            lanes[l] = s;
            most[l] = if s > most[l] { s } else { most[l] };
            broken[l] += s * 0.0;
        }
    }
    let m = largest(most);
    let (mut sums, mut moments) = ([0.0; LANES], [0.0; LANES]);
    for lanes in row {
        for l in 0..LANES {
            let distance = lanes[l] - m;
            let p = exp(distance);
            lanes[l] = p;
            sums[l] += p;
            moments[l] = p.mul_add(distance, moments[l]);
        }
    }
    let (sum, broken) = (total(sums), total(broken));
    let log = libm::logf(sum);
    Softmax { lse: m + log + broken, entropy: log - total(moments) / sum + broken, inverse: 1.0 / sum }
}
