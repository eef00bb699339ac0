//! Causal attention of new rows over a cache of keys and values, which generation runs for each token.
//!
//! A row at position p first stores its key and value in row p of the cache. Then for each head, over the keys j ≤ p:
//! s_j = q · k_j / √width, output = Σ_j softmax(s)_j v_j. The result equals that of [`super::attention`] for the last of
//! p + 1 rows. With a sink b `[H]`, the denominator of the softmax is e^b + Σ e^s: see [`super::attention_sink`].
//!
//! Shapes: qkv [R, 3·d] with columns q | k | v, head h at columns h·width of each; positions `[R]` of u32; cache [C, 2·d]
//! with columns k | v; output [R, d]. All rows are stored before the first one attends, so new rows see each other.
//! A position past the cache, such as [`super::gather::NO_ROW`], marks a missing row: its output is zero, and it is not
//! stored in the cache. No adjoint.

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, axis, element};
use crate::cores::functions::{exp, maximum, sum};
use crate::cores::simd;
use crate::ops::attention::{capped, capped_f32};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::ops::packed::{Packed, Part};
use crate::tape::{DType, Io, Tape, TensorId};
use rayon::prelude::*;
use std::sync::Arc;

/// The op. Inputs: qkv, positions and, if there are any, the sinks. Outputs: output, and the cache, whose other rows do not change.
#[derive(Clone, Debug)]
pub struct CachedAttention {
    /// H.
    pub n_head: usize,
    /// The cap of the scores: see [`super::attention`].
    pub cap: Option<f32>,
}

impl Tape {
    /// Records attention of `qkv` [R, 3·d] at `positions` `[R]` with `n_head` heads over `cache` [C, 2·d], which outlives
    /// a replay. The width of a head, d / n_head, is a multiple of 4.
    pub fn cached_attention(
        &mut self,
        qkv: TensorId,
        positions: TensorId,
        cache: TensorId,
        n_head: usize,
        (sinks, cap): (Option<TensorId>, Option<f32>),
    ) -> TensorId {
        let (rows, columns) = self.shape(qkv).as_matrix();
        let (places, dtype) = (self.shape(positions).elements(), self.info(positions).dtype);
        assert!(places == rows && dtype == DType::U32, "{places} positions of {dtype:?} for {rows} rows");
        let packed = Packed::of(columns, n_head, 4);
        assert_eq!(self.shape(cache).as_matrix().1, packed.kept().len(), "a cache of k | v");
        let output = self.intermediate("attention", &[rows, packed.part()]);
        let inputs: Vec<_> = [qkv, positions].into_iter().chain(sinks).collect();
        self.record(CachedAttention { n_head, cap }, &inputs, &[output, cache]);
        output
    }
}

/// Extents of one execution.
struct Sizes {
    rows: usize,
    /// d.
    width: usize,
    capacity: usize,
}

impl Sizes {
    fn of(shapes: &Shapes<'_>) -> Self {
        let (rows, width) = shapes.outputs[0].as_matrix();
        Self { rows, width, capacity: shapes.outputs[1].as_matrix().0 }
    }
}

impl Op for CachedAttention {
    fn stem(&self) -> &'static str {
        "cached_attention"
    }

    fn name(&self) -> &'static str {
        "cached_attention"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let Sizes { width, capacity, .. } = Sizes::of(&io.shapes);
        let (inputs, outputs) = io.split();
        let (outputs, cache) = outputs.split_at_mut(1);
        let cache = &mut cache[0];
        let packed = Packed { heads: self.n_head, width: width / self.n_head };
        let rows = || inputs[0].chunks(packed.columns()).zip(inputs[1]).map(|(row, &p)| (row, p as usize));
        for (row, position) in rows().filter(|&(_, position)| position < capacity) {
            cache[position * 2 * width..][..2 * width].copy_from_slice(&row[packed.kept()]);
        }
        let head = packed.width;
        for ((row, position), output) in rows().zip(outputs[0].chunks_mut(width)) {
            output.fill(0.0);
            let keys = if position < capacity { position + 1 } else { 0 };
            for first in (0..width).step_by(head) {
                let q = &row[first..first + head];
                let part = |j: usize, part: usize| &cache[j * 2 * width + part * width + first..][..head];
                let dot = |j| q.iter().zip(part(j, 0)).map(|(q, k)| q * k).sum::<f64>();
                let cap = |s: f64| self.cap.map_or(s, |cap| capped(s, f64::from(cap)));
                let s: Vec<f64> = (0..keys).map(|j| cap(dot(j) / (head as f64).sqrt())).collect();
                let m = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let sink = inputs.get(2).map_or(0.0, |sinks| (sinks[first / head] - m).exp());
                let sum = sink + s.iter().map(|s| (s - m).exp()).sum::<f64>();
                for (j, s) in s.iter().enumerate() {
                    for (o, v) in output[first..first + head].iter_mut().zip(part(j, 1)) {
                        *o += (s - m).exp() / sum * v;
                    }
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Sizes { width, capacity, .. } = Sizes::of(&io.shapes);
        let (inputs, outputs) = io.split();
        let [output, cache] = outputs else { unreachable!("two outputs") };
        let packed = Packed { heads: self.n_head, width: width / self.n_head };
        let position = |row: usize| inputs[1][row].to_bits() as usize;
        for (row, qkv) in inputs[0].chunks_exact(packed.columns()).enumerate() {
            if position(row) < capacity {
                cache[position(row) * 2 * width..][..2 * width].copy_from_slice(&qkv[packed.kept()]);
            }
        }
        let cache = &**cache;
        // How many heads a thread takes at least.
        let least = (1_usize << 15).div_ceil(capacity * packed.width);
        output.par_chunks_mut(packed.width).with_min_len(least).enumerate().for_each(|(piece, output)| {
            let (row, head) = (piece / packed.heads, piece % packed.heads);
            let query = &inputs[0][row * packed.columns()..][packed.head(Part::Query, head)];
            let keys = if position(row) < capacity { position(row) + 1 } else { 0 };
            let cache = cache[..keys * 2 * width].chunks_exact(2 * width);
            let part = |from: usize| {
                let first = from + head * packed.width;
                cache.clone().map(move |line| &line[first..first + packed.width])
            };
            simd(
                #[inline(always)]
                || {
                    attend(
                        output,
                        query,
                        part(0),
                        part(width),
                        (inputs.get(2).map(|sinks| sinks[head]), self.cap),
                    )
                },
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let Sizes { rows, width, capacity } = Sizes::of(shapes);
        let columns = width / self.n_head / 4;
        let team = Team::single(device);
        // How the lanes divide the values; see the shader.
        let span = team.size.min(columns);
        let turns = team.size / span;
        let texts = [("team", team.kind.to_owned())];
        let text: Arc<str> = unroll(
            include_str!("../../shaders/cached_attention.wgsl"),
            &[("lanes", element::LANES)],
            &[("sink", shapes.inputs.len() > 2), ("capped", self.cap.is_some())],
            &texts,
        );
        let cap = self.cap.map(|cap| ("CAP", f64::from(cap)));
        let constants = [
            ("ROWS", rows as f64),
            ("HEADS", self.n_head as f64),
            ("COLUMNS", columns as f64),
            ("CAPACITY", capacity as f64),
            ("SCALE", 1.0 / (4.0 * columns as f64).sqrt()),
            ("TEAM", team.size as f64),
        ];
        let kernel = |entry: &'static str, names: &[&str]| {
            let used: Vec<_> =
                constants.into_iter().chain(cap).filter(|(name, _)| names.contains(name)).collect();
            Kernel::new(text.clone(), entry, &used)
        };
        let append = Dispatch {
            kernel: kernel("append", &["ROWS", "HEADS", "COLUMNS", "CAPACITY"]),
            bindings: vec![
                ("qkv", Operand::Input(0)),
                ("positions", Operand::Input(1)),
                ("kept", Operand::Output(1)),
            ],
            groups: element::lanes(rows * width / 2),
        };
        let mut attend = Dispatch {
            kernel: kernel("attend", &["HEADS", "COLUMNS", "CAPACITY", "SCALE", "TEAM", "CAP"]),
            bindings: vec![
                ("qkv", Operand::Input(0)),
                ("positions", Operand::Input(1)),
                ("cache", Operand::Output(1)),
                ("scores", Operand::Scratch(0)),
                ("output", Operand::Output(0)),
            ],
            groups: [axis(self.n_head), axis(rows), 1],
        };
        if shapes.inputs.len() > 2 {
            attend.bindings.push(("sinks", Operand::Input(2)));
        }
        Recipe {
            dispatches: vec![append, attend],
            scratch: vec![rows * self.n_head * capacity],
            iterations: capacity.div_ceil(team.size) * (columns + 2)
                + capacity.div_ceil(turns) * columns.div_ceil(span),
        }
    }

    /// The other rows of the cache keep their contents.
    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    /// The count for a full cache, the maximum.
    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        let Sizes { rows, width, capacity } = Sizes::of(shapes);
        4 * (rows * width * capacity) as u64
    }
}

/// One head's output for one query, in f32 on the CPU.
#[inline(always)]
fn attend<'a>(
    output: &mut [f32],
    query: &[f32],
    keys: impl Iterator<Item = &'a [f32]>,
    values: impl Iterator<Item = &'a [f32]>,
    (sink, cap): (Option<f32>, Option<f32>),
) {
    let scale = 1.0 / (query.len() as f32).sqrt();
    let mut weights: Vec<f32> = keys.map(|key| sum([query, key], |[q, k]| q * k) * scale).collect();
    if let Some(cap) = cap {
        weights.iter_mut().for_each(|s| *s = capped_f32(*s, cap));
    }
    let m = maximum(&weights);
    weights.iter_mut().for_each(|s| *s = exp(*s - m));
    let inverse = 1.0 / (sum([&weights], |[p]| p) + sink.map_or(0.0, |sink| exp(sink - m)));
    output.fill(0.0);
    for (p, value) in weights.iter().zip(values) {
        output.iter_mut().zip(value).for_each(|(o, v)| *o = (p * inverse).mul_add(*v, *o));
    }
}

/// A row at the start, consecutive rows, missing rows; a full cache; narrow and wide heads.
pub fn cases(seed: u64) -> Vec<Case> {
    const NONE: u32 = super::gather::NO_ROW;
    let mut cases = Vec::new();
    for (heads, width, capacity, positions) in [
        (1, 4, 1, vec![0]),
        (3, 8, 7, vec![0, 1, 2]),
        (2, 20, 33, vec![30, 31, 32, NONE, NONE]),
        (4, 16, 130, vec![129]),
        (2, 64, 200, vec![77, 78]),
        (1, 256, 70, vec![69]),
        (1, 128, 1024, vec![1023, NONE]),
    ] {
        let rows = positions.len();
        let label = format!("R={rows} H={heads} d={width} at {} of {capacity}", positions[0]);
        let mut case = CaseBuilder::new("cached_attention", label, seed);
        let qkv = case.input("qkv", &[rows, 3 * heads * width], Fill::Normal(1.0));
        let at = case.indices("positions", &[rows], &positions);
        let cache = case.observation("cache", &[capacity, 2 * heads * width], 0.0);
        let past = (0..capacity * 2 * heads * width).map(|_| case.draw(Fill::Normal(1.0))).collect();
        case.set(cache, past);
        let output = case.tape.cached_attention(qkv, at, cache, heads, (None, None));
        // As for attention: scores have a rounding error of 6e-8 times their size, which carries over to the probabilities.
        cases.push(case.finish(&[], &[output], 2e-6));
    }
    for (heads, width, capacity, position, cap) in
        [(3, 8, 7, 2, None), (2, 64, 200, 199, None), (3, 8, 7, 2, Some(2.0)), (2, 64, 200, 199, Some(2.0))]
    {
        let label = format!("sinks, cap {cap:?}, H={heads} d={width} at {position} of {capacity}");
        let mut case = CaseBuilder::new("cached_attention", label, seed);
        let qkv = case.input("qkv", &[1, 3 * heads * width], Fill::Normal(1.0));
        let at = case.indices("positions", &[1], &[position]);
        let cache = case.observation("cache", &[capacity, 2 * heads * width], 0.0);
        let past = (0..capacity * 2 * heads * width).map(|_| case.draw(Fill::Normal(1.0))).collect();
        case.set(cache, past);
        let sinks = case.input("sinks", &[heads], Fill::Normal(2.0));
        let output = case.tape.cached_attention(qkv, at, cache, heads, (Some(sinks), cap));
        cases.push(case.finish(&[], &[output], 3e-6));
        if cap.is_none() {
            continue;
        }
        let mut case = CaseBuilder::new("cached_attention", format!("cap {cap:?}, H={heads}"), seed);
        let qkv = case.input("qkv", &[1, 3 * heads * width], Fill::Normal(1.0));
        let at = case.indices("positions", &[1], &[0]);
        let cache = case.observation("cache", &[capacity, 2 * heads * width], 0.0);
        let output = case.tape.cached_attention(qkv, at, cache, heads, (None, cap));
        cases.push(case.finish(&[], &[output], 3e-6));
    }
    cases
}
