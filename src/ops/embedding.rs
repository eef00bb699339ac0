//! `x[i] = wte[tokens[i]] + wpe[i mod T]`: token and position embedding, or token embedding alone, without wpe.
//!
//! Shapes: tokens [B·T] of u32, wte [V, d], wpe [P ≥ T, d]; x [B·T, d]. Every token must be below V: the rows of x for
//! other tokens are not written. wte may exceed one binding: it is read in windows of rows.
//! Adjoint: dwte`[v]` += Σ dx`[i]` over tokens`[i]` = v; dwpe`[t]` += Σ over sequences of dx[b·T + t]. No atomics:
//! the host sorts the rows by token (see [`sort_by_token`]), and a row of lanes adds up one token's rows in order.

mod host;

use super::team::Vectors;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rand::Rng;

/// The op. Inputs: tokens, sorted, segments, wte, and wpe if there is one. Output: x.
#[derive(Debug)]
pub struct Embedding {
    /// Positions of one sequence, T.
    pub sequence: usize,
}

/// dwte. Inputs: tokens, sorted, segments, dx. Output: dwte, to which it adds.
#[derive(Debug)]
pub struct EmbeddingTokens;

/// dwpe. Input: dx. Output: dwpe, to which it adds.
#[derive(Debug)]
pub struct EmbeddingPositions {
    pub sequence: usize,
}

/// The inputs `sorted` and `segments` for these tokens. `sorted` lists the positions of the tokens, ordered by token and
/// then by position. `segments` lists the index in `sorted` at which each distinct token starts, padded to
/// `tokens.len() + 1` entries with `tokens.len()`.
pub fn sort_by_token(tokens: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let count = u32::try_from(tokens.len()).expect("fewer than 2^32 tokens");
    let mut sorted: Vec<u32> = (0..count).collect();
    sorted.sort_by_key(|&place| tokens[place as usize]);
    let token = |at: usize| tokens[sorted[at] as usize];
    let starts = (0..tokens.len()).filter(|&at| at == 0 || token(at) != token(at - 1));
    let mut segments: Vec<u32> = starts.map(|at| at as u32).collect();
    segments.resize(tokens.len() + 1, count);
    (sorted, segments)
}

impl Tape {
    /// Records the embedding of `tokens` [B·T] in sequences of `sequence` positions; `sorted` [B·T] and `segments`
    /// [B·T + 1] come from [`sort_by_token`]. All three are u32 inputs. Without `wpe`, x is the tokens' rows.
    pub fn embedding(
        &mut self,
        tokens: TensorId,
        sorted: TensorId,
        segments: TensorId,
        wte: TensorId,
        wpe: Option<TensorId>,
        sequence: usize,
    ) -> TensorId {
        let count = self.shape(tokens).elements();
        for (list, length) in [(tokens, count), (sorted, count), (segments, count + 1)] {
            let info = self.info(list);
            let right = info.dtype == DType::U32 && info.shape.dims() == [length];
            assert!(right, "embedding: {} is {} of {:?}", info.name, info.shape, info.dtype);
        }
        let (_, width) = self.shape(wte).as_matrix();
        if let Some(wpe) = wpe {
            let (positions, position_width) = self.shape(wpe).as_matrix();
            assert!(sequence <= positions, "embedding: {sequence} positions of {positions}");
            assert_eq!(width, position_width, "embedding: widths of tokens and positions");
        }
        assert!(sequence > 0 && count.is_multiple_of(sequence), "embedding: {count} tokens in {sequence}s");
        let x = self.intermediate("embedding", &[count, width]);
        let inputs: Vec<_> = [tokens, sorted, segments, wte].into_iter().chain(wpe).collect();
        self.record(Embedding { sequence }, &inputs, &[x]);
        x
    }
}

/// A range of rows of a table.
pub(super) struct Window {
    pub first: usize,
    pub rows: usize,
}

/// Ranges of rows that each fit one binding and start at a multiple of 64 elements.
pub(super) fn windows((rows, columns): (usize, usize), device: &Traits) -> Vec<Window> {
    /// A window starts at a multiple of this many elements.
    const STEP: usize = 64;
    let most = device.max_binding as usize / (STEP * 4) * STEP / columns;
    if rows <= most {
        return vec![Window { first: 0, rows }];
    }
    // The smallest number of rows that makes a whole number of steps.
    let unit = STEP / gcd(STEP, columns);
    let most = most / unit * unit;
    assert!(most > 0, "{unit} rows of {columns} do not fit a binding of {} bytes", device.max_binding);
    (0..rows).step_by(most).map(|first| Window { first, rows: most.min(rows - first) }).collect()
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

/// A kernel for one entry point. With `positions`, that of [`Embedding`] adds them.
fn kernel(
    vectors: &Vectors,
    positions: bool,
    entry: &'static str,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let (numbers, flags) =
        ([&element::WALK[..], &[("vector", vectors.size)]].concat(), [("positions", positions)]);
    let text = unrolled(include_str!("../../shaders/embedding.wgsl"), &numbers, &flags);
    Kernel::new(text, entry, constants)
}

impl Op for Embedding {
    fn stem(&self) -> &'static str {
        "embedding"
    }

    fn name(&self) -> &'static str {
        "embedding"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(3).as_matrix();
        let (inputs, outputs) = io.split();
        let (wte, wpe) = (inputs[3], inputs.get(4));
        for (i, (x, &token)) in outputs[0].chunks_mut(width).zip(inputs[0]).enumerate() {
            let (row, position) = (token as usize * width, i % self.sequence * width);
            for (c, x) in x.iter_mut().enumerate() {
                *x = wte[row + c] + wpe.map_or(0.0, |wpe| wpe[position + c]);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        host::embed(inputs[0], inputs[3], inputs.get(4).copied(), self.sequence, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let table = shapes.inputs[3].as_matrix();
        let (tokens, columns) = (shapes.input_elements(0), table.1);
        let vectors = Vectors::of(columns);
        let positions = shapes.inputs.len() > 4;
        let dispatch = |window: &Window| {
            let mut constants = vec![
                ("TOKENS", tokens as f64),
                ("WIDTH", vectors.width as f64),
                ("FIRST", window.first as f64),
                ("COUNT", window.rows as f64),
            ];
            let (offset, length) = (window.first * columns, window.rows * columns);
            let mut bindings = vec![
                ("tokens", Operand::Input(0)),
                ("table", Operand::InputWindow { input: 3, offset, length }),
                ("x", Operand::Output(0)),
            ];
            if positions {
                constants.push(("SEQUENCE", self.sequence as f64));
                let length = self.sequence * columns;
                bindings.push(("positions", Operand::InputWindow { input: 4, offset: 0, length }));
            }
            Dispatch {
                kernel: kernel(&vectors, positions, "embedding", &constants),
                bindings,
                groups: element::walk(tokens * vectors.width),
            }
        };
        Recipe { dispatches: windows(table, device).iter().map(dispatch).collect(), ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dx) = adjoint.gradient(0) else { return };
        let [tokens, sorted, segments] = [0, 1, 2].map(|i| adjoint.input(i));
        if adjoint.wants(3) {
            let dwte = adjoint.parameter_gradient(3);
            adjoint.tape.record(EmbeddingTokens, &[tokens, sorted, segments, dx], &[dwte]);
        }
        if adjoint.inputs() > 4 && adjoint.wants(4) {
            let dwpe = adjoint.parameter_gradient(4);
            adjoint.tape.record(EmbeddingPositions { sequence: self.sequence }, &[dx], &[dwpe]);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        if shapes.inputs.len() > 4 { shapes.output_elements(0) as u64 } else { 0 }
    }

    /// One row of the token table for each position, and the position rows of one sequence.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        let width = shapes.outputs[0].as_matrix().1;
        let positions = if shapes.inputs.len() > 4 { self.sequence * width } else { 0 };
        let elements = shapes.input_elements(0) + 2 * shapes.output_elements(0) + positions;
        4 * elements as u64
    }
}

impl Op for EmbeddingTokens {
    fn stem(&self) -> &'static str {
        "embedding"
    }

    fn name(&self) -> &'static str {
        "embedding.tokens"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(3).as_matrix();
        let (inputs, outputs) = io.split();
        for (dx, &token) in inputs[3].chunks(width).zip(inputs[0]) {
            let row = token as usize * width;
            for (total, dx) in outputs[0][row..row + width].iter_mut().zip(dx) {
                *total += dx;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(3).as_matrix();
        let (inputs, outputs) = io.split();
        let [tokens, sorted, segments, dx] = inputs else { panic!("four inputs") };
        host::into_tokens(tokens, sorted, segments, dx, width, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let table = shapes.outputs[0].as_matrix();
        let (tokens, columns) = (shapes.input_elements(0), table.1);
        let vectors = Vectors::of(columns);
        let dispatch = |window: &Window| Dispatch {
            kernel: kernel(
                &vectors,
                false,
                "embedding_tokens",
                &[
                    ("TOKENS", tokens as f64),
                    ("WIDTH", vectors.width as f64),
                    ("FIRST", window.first as f64),
                    ("COUNT", window.rows as f64),
                ],
            ),
            bindings: vec![
                ("tokens", Operand::Input(0)),
                ("sorted", Operand::Input(1)),
                ("segments", Operand::Input(2)),
                ("dx", Operand::Input(3)),
                (
                    "dtable",
                    Operand::OutputWindow {
                        output: 0,
                        offset: window.first * columns,
                        length: window.rows * columns,
                    },
                ),
            ],
            groups: element::lanes(tokens * vectors.width),
        };
        Recipe {
            dispatches: windows(table, device).iter().map(dispatch).collect(),
            // All rows may belong to one token; each iteration adds four.
            iterations: tokens / 4 + 3,
            ..Recipe::default()
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(3) as u64
    }

    /// As many table rows as there are positions; fewer if tokens repeat.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        4 * 3 * shapes.input_elements(3) as u64
    }
}

impl Op for EmbeddingPositions {
    fn stem(&self) -> &'static str {
        "embedding"
    }

    fn name(&self) -> &'static str {
        "embedding.positions"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (i, dx) in inputs[0].iter().enumerate() {
            outputs[0][i % (self.sequence * width)] += dx;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::into_positions(inputs[0], &mut outputs[0][..self.sequence * width]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let (tokens, columns) = shapes.inputs[0].as_matrix();
        let vectors = Vectors::of(columns);
        let constants =
            [("TOKENS", tokens as f64), ("WIDTH", vectors.width as f64), ("SEQUENCE", self.sequence as f64)];
        let kernel = kernel(&vectors, true, "embedding_positions", &constants);
        let length = self.sequence * columns;
        let bindings = [
            ("dx", Operand::Input(0)),
            ("dpositions", Operand::OutputWindow { output: 0, offset: 0, length }),
        ];
        Recipe::one(kernel, &bindings, element::lanes(self.sequence * vectors.width))
            .with_iterations(tokens / self.sequence)
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }

    /// The table rows of one sequence.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        let (tokens, columns) = shapes.inputs[0].as_matrix();
        4 * (columns * (tokens + 2 * self.sequence)) as u64
    }
}

/// Widths with and without vec4, one token and many, more positions than are used, a token so frequent that a loop
/// over its rows one by one would exceed the limit of some CPU drivers, and tokens alone.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, sequence, vocabulary, width, common, positions) in [
        (1, 1, 1, 1, 0.0, true),
        (3, 5, 7, 3, 0.0, true),
        (2, 16, 300, 20, 0.2, true),
        (4, 33, 1_009, 64, 0.1, true),
        (1_000, 70, 3, 5, 0.97, true),
        (3, 5, 7, 3, 0.0, false),
        (4, 33, 1_009, 64, 0.1, false),
    ] {
        let alone = if positions { "" } else { ", no positions" };
        let label = format!("{batch}x{sequence} of {vocabulary}, width {width}, {common} alike{alone}");
        let mut case = CaseBuilder::new("embedding", label, seed);
        let count = batch * sequence;
        let draw = |_| match case.random.random_bool(common) {
            true => 0,
            false => case.random.random_range(0..vocabulary),
        };
        let tokens: Vec<u32> = (0..count).map(draw).collect();
        let (sorted, segments) = sort_by_token(&tokens);
        let tokens = case.indices("tokens", &[count], &tokens);
        let sorted = case.indices("sorted", &[count], &sorted);
        let segments = case.indices("segments", &[count + 1], &segments);
        let wte = case.parameter("wte", &[vocabulary as usize, width], Fill::Normal(1.0));
        let wpe = positions.then(|| case.parameter("wpe", &[sequence + 2, width], Fill::Normal(1.0)));
        let x = case.tape.embedding(tokens, sorted, segments, wte, wpe, sequence);
        // A sequential sum of n terms of N(0, 1) is about √n and its rounding error ε·n/4, relative to the sum ε·√n/4:
        // 4e-6 for the longest, and more if the largest sum of a tensor is small by chance.
        let bound = if count > 1_000 { 5e-5 } else { 1e-6 };
        cases.push(case.finish(&[x], &[], bound));
    }
    cases
}
