//! Rotary position embedding in place (Su et al. 2021, arXiv 2104.09864), in the form of GPT-NeoX: rotates the first R
//! columns of every query and key head by an angle that grows with the position.
//!
//! Shapes: qkv [B·T, 3·d] with columns q | k | v, head h at columns h·width of each; R ≤ width, even. Column i < R/2 of
//! a head and column i + R/2 form a pair: at position t, with θ = t · base^(−2i/R), where the base is 10000 unless it is said,
//! (x₁, x₂) ← (x₁ cos θ − x₂ sin θ, x₂ cos θ + x₁ sin θ). All other columns are unchanged.
//!
//! Cosines and sines come from a table [T, R], for each position R/2 cosines, then R/2 sines. The host computes it in
//! f64: f32 would round the angle itself, by up to 1e-4 at position 2,048, and WGSL allows a device's sine to be off by
//! 5e-4. In place, because the op changes only R/width of two thirds of the row: a sixth, if R is a quarter of the width.
//! Adjoint: the same with −θ, in place in the gradient.

use super::team::Vectors;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::rows_per_block;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::ops::packed::Packed;
use crate::tape::{Adjoint, DType, Io, Role, Tape, TensorId};
use rayon::prelude::*;

/// The base of the pairs' angles where a model has no other.
pub const BASE: f64 = 10_000.0;

/// The op; see the module's documentation. Input: the table. Output: qkv, changed in place.
#[derive(Clone, Debug)]
pub struct Rotary {
    /// H.
    pub n_head: usize,
    /// T; rows are whole sequences.
    pub sequence: usize,
    /// R: the rotated columns of a head.
    pub columns: usize,
    /// The base of the pairs' angles.
    pub base: f64,
    /// Whether to rotate by −θ.
    pub back: bool,
    /// Whether the table has one entry per row of qkv, for rows at arbitrary positions.
    pub given: bool,
}

impl Tape {
    /// Records the rotation of the first `columns` of each query and key head in `qkv` [B·T, 3·d], in place, by angles with this
    /// `base`: later nodes read the rotated values. qkv must be an intermediate that nothing has read yet.
    pub fn rotary(&mut self, qkv: TensorId, n_head: usize, sequence: usize, (columns, base): (usize, f64)) {
        let table = self.turns(sequence, columns, base);
        self.turn(table, qkv, Rotary { n_head, sequence, columns, base, back: false, given: false });
    }

    /// The same for rows at `positions` `[R]`, of u32, below `context`. In a missing row, the columns to rotate become zero.
    pub fn rotary_at(
        &mut self,
        qkv: TensorId,
        n_head: usize,
        (positions, context): (TensorId, usize),
        (columns, base): (usize, f64),
    ) {
        let sequence = self.shape(positions).elements();
        let table = self.turns(context, columns, base);
        let table = self.gather(positions, table);
        self.turn(table, qkv, Rotary { n_head, sequence, columns, base, back: false, given: true });
    }

    /// The table of `sequence` positions, which all ops over that many positions share.
    fn turns(&mut self, sequence: usize, columns: usize, base: f64) -> TensorId {
        let name = format!("rotary {sequence}x{columns}");
        let known = self.find(&name);
        known.unwrap_or_else(|| self.constant(&name, &[sequence, columns], table(sequence, columns, base)))
    }

    fn turn(&mut self, table: TensorId, qkv: TensorId, op: Rotary) {
        let Rotary { n_head, sequence, columns, .. } = op;
        let (rows, width) = self.shape(qkv).as_matrix();
        assert!(rows.is_multiple_of(sequence), "rotary: {rows} rows in sequences of {sequence}");
        let head = Packed::of(width, n_head, 1).width;
        assert!(
            columns > 0 && columns.is_multiple_of(2) && columns <= head,
            "rotary: {columns} columns of a head of {head}"
        );
        let info = self.info(qkv);
        assert!(
            info.role == Role::Intermediate && info.parent.is_none(),
            "rotary changes {} in place",
            info.name
        );
        let read = self.nodes().iter().any(|node| node.inputs.contains(&qkv));
        assert!(!read, "rotary would change {} under those that have read it", self.info(qkv).name);
        self.record(op, &[table], &[qkv]);
    }
}

/// θ of pair `i` of `columns` / 2 at a position.
fn angle(position: usize, i: usize, columns: usize, base: f64) -> f64 {
    position as f64 * base.powf(-2.0 * i as f64 / columns as f64)
}

/// The table, row-major.
fn table(sequence: usize, columns: usize, base: f64) -> Vec<f32> {
    let row = |position: usize| {
        let angles = move || (0..columns / 2).map(move |i| angle(position, i, columns, base));
        angles().map(f64::cos).chain(angles().map(f64::sin))
    };
    (0..sequence).flat_map(row).map(|value| value as f32).collect()
}

impl Op for Rotary {
    fn stem(&self) -> &'static str {
        "rotary"
    }

    fn name(&self) -> &'static str {
        if self.back { "rotary.backward" } else { "rotary" }
    }

    /// Uses the formula rather than the table, unless the table is given, so that a wrong table is detected.
    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.output_shape(0).as_matrix();
        let (packed, half) = (Packed::of(width, self.n_head, 1), self.columns / 2);
        let (inputs, outputs) = io.split();
        let turn = |row: usize, i: usize| match self.given {
            true => (inputs[0][row * self.columns + half + i], inputs[0][row * self.columns + i]),
            false => angle(row % self.sequence, i, self.columns, self.base).sin_cos(),
        };
        for (row, qkv) in outputs[0].chunks_mut(width).enumerate() {
            for head in qkv[packed.turned()].chunks_mut(packed.width) {
                let (first, rest) = head.split_at_mut(half);
                for (i, (a, b)) in first.iter_mut().zip(rest).enumerate() {
                    let (sin, cos) = turn(row, i);
                    let sin = if self.back { -sin } else { sin };
                    (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.output_shape(0).as_matrix();
        let (packed, half) = (Packed::of(width, self.n_head, 1), self.columns / 2);
        let (inputs, outputs) = io.split();
        let table = inputs[0].chunks_exact(self.columns).map(|turn| turn.split_at(half));
        let (table, rows) = (table.collect::<Vec<_>>(), rows_per_block(width));
        outputs[0].par_chunks_mut(rows * width).enumerate().for_each(|(block, rows_of_block)| {
            for (i, qkv) in rows_of_block.chunks_exact_mut(width).enumerate() {
                let row = block * rows + i;
                let (cosines, sines) = table[if self.given { row } else { row % self.sequence }];
                for head in qkv[packed.turned()].chunks_exact_mut(packed.width) {
                    let (first, rest) = head.split_at_mut(half);
                    let turns = cosines.iter().zip(sines);
                    for ((a, b), (cos, sin)) in first.iter_mut().zip(rest).zip(turns) {
                        let sin = if self.back { -sin } else { *sin };
                        (*a, *b) = (*a * cos - *b * sin, *b * cos + *a * sin);
                    }
                }
            }
        });
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let (rows, width) = shapes.outputs[0].as_matrix();
        // A head's width is a multiple of four; half of its rotated columns need not be.
        let half = Vectors::of(self.columns / 2);
        let stored = shapes.half_output(0);
        let texts =
            [("stored", element::vector(stored, half.size)), ("narrow", element::narrow(stored, half.size))];
        let numbers = [&element::WALK[..], &[("vector", half.size)]].concat();
        let text = unroll(include_str!("../../shaders/rotary.wgsl"), &numbers, &[("half", stored)], &texts);
        let count = rows * 2 * self.n_head * half.width;
        let constants = [
            ("COUNT", count as f64),
            ("PAIRS", half.width as f64),
            ("HEADS", (2 * self.n_head) as f64),
            ("HEAD", (Packed::of(width, self.n_head, 1).width / half.size) as f64),
            ("ROW", (width / half.size) as f64),
            ("SEQUENCE", self.sequence as f64),
            ("SIDE", if self.back { -1.0 } else { 1.0 }),
        ];
        let bindings = [("turns", Operand::Input(0)), ("qkv", Operand::Output(0))];
        let kernel = Kernel::new(text, "rotary", &constants);
        Recipe::one(kernel, &bindings, element::walk(count))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(gradient) = adjoint.own_gradient(0) else { return };
        let table = adjoint.input(0);
        adjoint.tape.record(Self { back: !self.back, ..self.clone() }, &[table], &[gradient]);
    }

    /// Six per pair.
    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        6 * self.pairs(shapes)
    }

    /// The table, and the rotated part of qkv, read and written.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        let each = 4 * shapes.output_types[0].bytes() as u64;
        4 * shapes.input_elements(0) as u64 + each * self.pairs(shapes)
    }
}

impl Rotary {
    fn pairs(&self, shapes: &Shapes<'_>) -> u64 {
        let (rows, _) = shapes.outputs[0].as_matrix();
        (rows * self.n_head * self.columns) as u64
    }
}

/// Halves with and without vec4, parts of a head and whole heads, one position and 2,048 positions; f32 and f16.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, sequence, n_head, width, columns) in [
        (1, 1, 1, 4, 2),
        (2, 5, 3, 4, 4),
        (3, 33, 2, 12, 6),
        (2, 16, 4, 64, 16),
        (1, 7, 1, 32, 32),
        (1, 2048, 1, 20, 10),
        (1, 2048, 1, 8, 8),
    ] {
        let label = format!("{batch}x{n_head} of {sequence}x{width}, {columns} turned");
        let shape = [batch * sequence, 3 * n_head * width];
        let mut case = CaseBuilder::new("rotary", label.clone(), seed);
        let [a, b] = ["a", "b"].map(|name| case.input(name, &shape, Fill::Normal(1.0)));
        let qkv = case.tape.add(a, b);
        case.tape.rotary(qkv, n_head, sequence, (columns, if width == 32 { 1e5 } else { BASE }));
        // The sum before the rotation, the table, a product and the final sum are each rounded by at most 6e-8 of
        // themselves. A pair is at most √2 times as long as its larger element: 4 · 1.41 · 6e-8 = 3.4e-7, plus a quarter.
        cases.push(case.finish(&[qkv], &[], 4.3e-7));

        let mut case = CaseBuilder::new("rotary", format!("f16 {label}"), seed);
        let x = case.input_of("x", &[shape[0], 8], DType::F16, Fill::Normal(1.0));
        let w = case.matrix("w", &[8, shape[1]], true, Fill::Normal(0.4));
        let qkv = case.tape.linear(x, w, None);
        case.tape.rotary(qkv, n_head, sequence, (columns, BASE));
        cases.push(case.finish(&[qkv], &[], HALF_BOUND));
    }
    // Rows of a text as generation reads them, with one row missing.
    let mut case = CaseBuilder::new("rotary", "rows at 70, 71 and none of 90", seed);
    let [a, b] = ["a", "b"].map(|name| case.input(name, &[3, 3 * 2 * 12], Fill::Normal(1.0)));
    let positions = case.indices("positions", &[3], &[70, 71, super::gather::NO_ROW]);
    let qkv = case.tape.add(a, b);
    case.tape.rotary_at(qkv, 2, (positions, 90), (6, BASE));
    cases.push(case.finish(&[], &[qkv], 4.3e-7));
    cases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_formula_in_f32() {
        let (sequence, columns) = (2048, 16);
        let table = table(sequence, columns, BASE);
        assert_eq!(table.len(), sequence * columns);
        for (position, row) in table.chunks(columns).enumerate() {
            for i in 0..columns / 2 {
                // 10000^(−2i/16) by repeated square roots, as a check on `powf`.
                let step = 0.1_f64.sqrt();
                let theta = position as f64 * step.powi(i as i32);
                assert!((f64::from(row[i]) - theta.cos()).abs() < 6e-8, "cos at {position}, pair {i}");
                assert!((f64::from(row[i + 8]) - theta.sin()).abs() < 6e-8, "sin at {position}, pair {i}");
            }
        }
    }
}
