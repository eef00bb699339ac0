//! `y = a | b`: the columns of two tensors side by side, for ops that read packed rows of what two matrices made.
//!
//! Shapes: a [R, m], b [R, n], y [R, m + n], m and n multiples of four; all of one type, f32 or f16. Adjoint: each gets its columns.

use super::element;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::cores::rows_per_task;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: a, b. Output: y.
#[derive(Clone, Debug)]
struct Beside;

/// Its adjoint. Input: dy. Outputs: da, db.
#[derive(Clone, Debug)]
struct BesideBackward;

impl Tape {
    /// Records the rows of `a` and `b` side by side.
    pub fn beside(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let ((rows, m), (others, n)) = (self.shape(a).as_matrix(), self.shape(b).as_matrix());
        assert!(rows == others && m.is_multiple_of(4) && n.is_multiple_of(4), "{m} beside {n} columns");
        let y = self.intermediate_of("beside", &[rows, m + n], self.info(a).dtype);
        self.record(Beside, &[a, b], &[y]);
        y
    }
}

/// A kernel of `beside.wgsl` over all vectors of y.
fn recipe(
    (rows, m): (usize, usize),
    n: usize,
    half: bool,
    entry: &'static str,
    bindings: &[(&'static str, Operand)],
) -> Recipe {
    let texts = [("element", element::scalar(half))];
    let shader = include_str!("../../shaders/beside.wgsl");
    let text = unroll(shader, &element::WALK, &[("half", half)], &texts);
    let vectors = rows * (m + n) / 4;
    let constants = [("VECTORS", vectors as f64), ("LEFT", (m / 4) as f64), ("RIGHT", (n / 4) as f64)];
    Recipe::one(Kernel::new(text, entry, &constants), bindings, element::walk(vectors))
}

impl Op for Beside {
    fn stem(&self) -> &'static str {
        "beside"
    }

    fn name(&self) -> &'static str {
        "beside"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (m, n) = (io.input_shape(0).as_matrix().1, io.input_shape(1).as_matrix().1);
        let (inputs, outputs) = io.split();
        let rows = inputs[0].chunks_exact(m).zip(inputs[1].chunks_exact(n));
        for (y, (a, b)) in outputs[0].chunks_exact_mut(m + n).zip(rows) {
            y[..m].copy_from_slice(a);
            y[m..].copy_from_slice(b);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (m, n) = (io.input_shape(0).as_matrix().1, io.input_shape(1).as_matrix().1);
        let (inputs, outputs) = io.split();
        let rows = rows_per_task(m + n);
        let blocks = outputs[0].par_chunks_mut(rows * (m + n));
        blocks.zip(inputs[0].par_chunks(rows * m).zip(inputs[1].par_chunks(rows * n))).for_each(
            |(y, (a, b))| {
                for (y, (a, b)) in y.chunks_exact_mut(m + n).zip(a.chunks_exact(m).zip(b.chunks_exact(n))) {
                    y[..m].copy_from_slice(a);
                    y[m..].copy_from_slice(b);
                }
            },
        );
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [("a", Operand::Input(0)), ("b", Operand::Input(1)), ("y", Operand::Output(0))];
        let (left, (_, n)) = (shapes.inputs[0].as_matrix(), shapes.inputs[1].as_matrix());
        recipe(left, n, shapes.half_input(0), "beside", &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let gradients = [0, 1].map(|i| adjoint.fresh_like(i));
        adjoint.tape.record(BesideBackward, &[dy], &gradients);
        for (i, gradient) in gradients.into_iter().enumerate() {
            if adjoint.wants(i) {
                adjoint.contribute(i, gradient);
            }
        }
    }
}

impl Op for BesideBackward {
    fn stem(&self) -> &'static str {
        "beside"
    }

    fn name(&self) -> &'static str {
        "beside.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (m, n) = (io.output_shape(0).as_matrix().1, io.output_shape(1).as_matrix().1);
        let (inputs, outputs) = io.split();
        for (row, dy) in inputs[0].chunks_exact(m + n).enumerate() {
            outputs[0][row * m..(row + 1) * m].copy_from_slice(&dy[..m]);
            outputs[1][row * n..(row + 1) * n].copy_from_slice(&dy[m..]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (m, n) = (io.output_shape(0).as_matrix().1, io.output_shape(1).as_matrix().1);
        let (inputs, outputs) = io.split();
        let [da, db] = outputs else { unreachable!("two outputs") };
        let rows = rows_per_task(m + n);
        let blocks = da.par_chunks_mut(rows * m).zip(db.par_chunks_mut(rows * n));
        blocks.zip(inputs[0].par_chunks(rows * (m + n))).for_each(|((da, db), dy)| {
            let rows = da.chunks_exact_mut(m).zip(db.chunks_exact_mut(n));
            for ((da, db), dy) in rows.zip(dy.chunks_exact(m + n)) {
                da.copy_from_slice(&dy[..m]);
                db.copy_from_slice(&dy[m..]);
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [("dy", Operand::Input(0)), ("da", Operand::Output(0)), ("db", Operand::Output(1))];
        let (left, (_, n)) = (shapes.outputs[0].as_matrix(), shapes.outputs[1].as_matrix());
        recipe(left, n, shapes.half_input(0), "apart", &bindings)
    }
}

/// One row and many; equal widths and unequal ones.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, m, n) in [(1, 4, 4), (7, 20, 8), (130, 36, 36)] {
            let mut case = CaseBuilder::new("beside", format!("[{rows}, {m} | {n}] of {dtype:?}"), seed);
            let a = case.input_of("a", &[rows, m], dtype, Fill::Normal(1.0));
            let b = case.input_of("b", &[rows, n], dtype, Fill::Normal(1.0));
            let y = case.tape.beside(a, b);
            // Copies of numbers that both types hold. A gradient's start value in f16 is rounded once.
            cases.push(case.finish(&[y], &[], if dtype == DType::F16 { 1.0 / 1024.0 } else { 0.0 }));
        }
    }
    cases
}
