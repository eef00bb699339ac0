//! Packed rows q | k | v whose queries and keys are those of one tensor and whose values are those of another: what attention reads
//! where the norm before it has another factor for values than for queries and keys.
//!
//! Shapes: a, b and y [R, 3·d], d a multiple of four; all of one type, f32 or f16. Adjoint: da has the gradient of queries and keys and
//! zeros for values, db the rest.

use super::element;
use super::packed::Packed;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::cores::rows_per_task;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: a, b. Output: y.
#[derive(Clone, Debug)]
struct Splice;

/// Its adjoint. Input: dy. Outputs: da, db.
#[derive(Clone, Debug)]
struct SpliceBackward;

impl Tape {
    /// Records the queries and keys of the packed rows `a` with the values of `b`.
    pub fn splice(&mut self, a: TensorId, b: TensorId) -> TensorId {
        let (rows, columns) = self.shape(a).as_matrix();
        assert_eq!(self.shape(a), self.shape(b), "splice");
        // The layout does not depend on the heads.
        let packed = Packed::of(columns, 1, 4);
        let y = self.intermediate_of("packed", &[rows, packed.columns()], self.info(a).dtype);
        self.record(Splice, &[a, b], &[y]);
        y
    }
}

/// A kernel of `splice.wgsl` over all vectors.
fn recipe(
    (rows, columns): (usize, usize),
    half: bool,
    entry: &'static str,
    bindings: &[(&'static str, Operand)],
) -> Recipe {
    let texts = [("element", element::scalar(half))];
    let text = unroll(include_str!("../../shaders/splice.wgsl"), &element::WALK, &[("half", half)], &texts);
    let vectors = rows * columns / 4;
    let turned = Packed::of(columns, 1, 4).turned().len() / 4;
    let constants = [("VECTORS", vectors as f64), ("WIDTH", (columns / 4) as f64), ("TURNED", turned as f64)];
    Recipe::one(Kernel::new(text, entry, &constants), bindings, element::walk(vectors))
}

impl Op for Splice {
    fn stem(&self) -> &'static str {
        "splice"
    }

    fn name(&self) -> &'static str {
        "splice"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let turned = Packed::of(columns, 1, 4).turned();
        let (inputs, outputs) = io.split();
        for (i, y) in outputs[0].iter_mut().enumerate() {
            let source = usize::from(!turned.contains(&(i % columns)));
            *y = inputs[source][i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let turned = Packed::of(columns, 1, 4).turned().len();
        let (inputs, outputs) = io.split();
        let block = rows_per_task(columns) * columns;
        let blocks = inputs[0].par_chunks(block).zip(inputs[1].par_chunks(block));
        outputs[0].par_chunks_mut(block).zip(blocks).for_each(|(y, (a, b))| {
            let rows = a.chunks_exact(columns).zip(b.chunks_exact(columns));
            for (y, (a, b)) in y.chunks_exact_mut(columns).zip(rows) {
                y[..turned].copy_from_slice(&a[..turned]);
                y[turned..].copy_from_slice(&b[turned..]);
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [("a", Operand::Input(0)), ("b", Operand::Input(1)), ("y", Operand::Output(0))];
        recipe(shapes.inputs[0].as_matrix(), shapes.half_input(0), "splice", &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let gradients = [0, 1].map(|i| adjoint.fresh_like(i));
        adjoint.tape.record(SpliceBackward, &[dy], &gradients);
        for (i, gradient) in gradients.into_iter().enumerate() {
            if adjoint.wants(i) {
                adjoint.contribute(i, gradient);
            }
        }
    }
}

impl Op for SpliceBackward {
    fn stem(&self) -> &'static str {
        "splice"
    }

    fn name(&self) -> &'static str {
        "splice.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let turned = Packed::of(columns, 1, 4).turned();
        let (inputs, outputs) = io.split();
        for (i, &d) in inputs[0].iter().enumerate() {
            let of_keys = turned.contains(&(i % columns));
            outputs[0][i] = if of_keys { d } else { 0.0 };
            outputs[1][i] = if of_keys { 0.0 } else { d };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let turned = Packed::of(columns, 1, 4).turned().len();
        let (inputs, outputs) = io.split();
        let [da, db] = outputs else { unreachable!("two outputs") };
        let block = rows_per_task(columns) * columns;
        let blocks = da.par_chunks_mut(block).zip(db.par_chunks_mut(block));
        blocks.zip(inputs[0].par_chunks(block)).for_each(|((da, db), dy)| {
            let rows = da.chunks_exact_mut(columns).zip(db.chunks_exact_mut(columns));
            for ((da, db), dy) in rows.zip(dy.chunks_exact(columns)) {
                da[..turned].copy_from_slice(&dy[..turned]);
                da[turned..].fill(0.0);
                db[..turned].fill(0.0);
                db[turned..].copy_from_slice(&dy[turned..]);
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [("dy", Operand::Input(0)), ("da", Operand::Output(0)), ("db", Operand::Output(1))];
        recipe(shapes.inputs[0].as_matrix(), shapes.half_input(0), "cut", &bindings)
    }
}

/// One row and many.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, width) in [(1, 4), (7, 20), (130, 36)] {
            let mut case = CaseBuilder::new("splice", format!("[{rows}, 3 · {width}] of {dtype:?}"), seed);
            let [a, b] =
                ["a", "b"].map(|name| case.input_of(name, &[rows, 3 * width], dtype, Fill::Normal(1.0)));
            let y = case.tape.splice(a, b);
            // Copies of numbers that both types hold. A gradient's start value in f16 is rounded once.
            cases.push(case.finish(&[y], &[], if dtype == DType::F16 { 1.0 / 1024.0 } else { 0.0 }));
        }
    }
    cases
}
