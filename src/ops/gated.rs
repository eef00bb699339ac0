//! `y = f(a) ⊙ b` of packed rows a | b: a gated linear unit with the activation f (Shazeer 2020, arXiv 2002.05202: SwiGLU, GeGLU,
//! ReGLU).
//!
//! Shapes: x `[R, 2·n]` with columns a | b, y `[R, n]`, n a multiple of four, both in f32 or f16. Adjoint: da = dy·b·f′(a) and
//! db = dy·f(a), packed as x is.

use super::activation::Activation;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, element, fits_image};
use crate::cores::rows_per_block;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Input: x. Output: y.
#[derive(Clone, Debug)]
struct Gated {
    activation: Activation,
    /// The fixed p of activations that take one.
    p: f32,
}

/// Its adjoint. Inputs: x, dy. Output: dx.
#[derive(Clone, Debug)]
struct GatedBackward(Gated);

impl Tape {
    /// Records f(a)⊙b of packed rows a | b, with an activation f that learns nothing.
    pub fn gated(&mut self, x: TensorId, activation: Activation, p: f32) -> TensorId {
        let (rows, columns) = self.shape(x).as_matrix();
        assert!(
            columns.is_multiple_of(8) && activation.wgsl.is_some() && !activation.learns(),
            "{activation}"
        );
        let y = self.intermediate_of("gated", &[rows, columns / 2], self.info(x).dtype);
        self.record(Gated { activation, p }, &[x], &[y]);
        y
    }
}

impl Gated {
    /// A kernel of `gated.wgsl` over the vectors of y.
    fn recipe(
        &self,
        shapes: &Shapes<'_>,
        device: &Traits,
        entry: &'static str,
        operands: &[(&'static str, Operand)],
    ) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let (width, half) = (columns / 2, shapes.half_input(0));
        let dtype = if half { DType::F16 } else { DType::F32 };
        // If rows of y fit, those of x do too.
        let images = device.software && fits_image(rows, width, dtype) && fits_image(rows, columns, dtype);
        let texts = [
            ("element", element::scalar(half)),
            ("narrow", element::narrow(half, 4)),
            ("texel", element::texel(half)),
            ("function", self.activation.wgsl.expect("the identity gates nothing").to_owned()),
        ];
        let flags = [("images", images), ("half", half)];
        let text = unroll(include_str!("../../shaders/gated.wgsl"), &element::WALK, &flags, &texts);
        let vectors = rows * width / 4;
        let constants =
            [("VECTORS", vectors as f64), ("WIDTH", (width / 4) as f64), ("P", f64::from(self.p))];
        let as_image = |&(name, operand): &(&'static str, Operand)| match operand {
            Operand::Input(i) if images => (name, Operand::InputImage(i)),
            _ => (name, operand),
        };
        let bindings: Vec<_> = operands.iter().map(as_image).collect();
        Recipe::one(Kernel::new(text, entry, &constants), &bindings, element::walk(vectors))
    }
}

impl Op for Gated {
    fn stem(&self) -> &'static str {
        "gated"
    }

    fn name(&self) -> &'static str {
        "gated"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.output_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (x, y) in inputs[0].chunks_exact(2 * width).zip(outputs[0].chunks_exact_mut(width)) {
            let (a, b) = x.split_at(width);
            for (y, (&a, b)) in y.iter_mut().zip(a.iter().zip(b)) {
                *y = (self.activation.value)(a, f64::from(self.p)) * b;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Some(loops) = self.activation.loops else { return io.in_f64(|io| self.reference(io)) };
        let (_, width) = io.output_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let rows = rows_per_block(2 * width);
        let blocks = outputs[0].par_chunks_mut(rows * width).zip(inputs[0].par_chunks(rows * 2 * width));
        blocks.for_each(|(y, x)| {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(2 * width)) {
                let (a, b) = x.split_at(width);
                loops.row(y, a, self.p);
                y.iter_mut().zip(b).for_each(|(y, b)| *y *= b);
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        Gated::recipe(self, shapes, device, "gated", &[("x", Operand::Input(0)), ("y", Operand::Output(0))])
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        if adjoint.wants(0) {
            let (x, dx) = (adjoint.input(0), adjoint.fresh_like(0));
            adjoint.tape.record(GatedBackward(self.clone()), &[x, dy], &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (self.activation.flops + 1) * shapes.output_elements(0) as u64
    }
}

impl Op for GatedBackward {
    fn stem(&self) -> &'static str {
        "gated"
    }

    fn name(&self) -> &'static str {
        "gated.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(1).as_matrix();
        let Gated { activation, p } = self.0;
        let (inputs, outputs) = io.split();
        let rows = inputs[0].chunks_exact(2 * width).zip(inputs[1].chunks_exact(width));
        for ((x, dy), dx) in rows.zip(outputs[0].chunks_exact_mut(2 * width)) {
            for (c, dy) in dy.iter().enumerate() {
                let (a, b) = (x[c], x[width + c]);
                dx[c] = dy * b * (activation.derivative)(a, f64::from(p));
                dx[width + c] = dy * (activation.value)(a, f64::from(p));
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Gated { activation, p } = self.0;
        let Some(loops) = activation.loops else { return io.in_f64(|io| self.reference(io)) };
        let (_, width) = io.input_shape(1).as_matrix();
        let (inputs, outputs) = io.split();
        let rows = rows_per_block(2 * width);
        let blocks = outputs[0].par_chunks_mut(rows * 2 * width).zip(inputs[0].par_chunks(rows * 2 * width));
        blocks.zip(inputs[1].par_chunks(rows * width)).for_each(|((dx, x), dy)| {
            let rows = dx.chunks_exact_mut(2 * width).zip(x.chunks_exact(2 * width));
            for ((dx, x), dy) in rows.zip(dy.chunks_exact(width)) {
                let ((a, b), (da, db)) = (x.split_at(width), dx.split_at_mut(width));
                loops.row_gradient(da, [a, dy], p);
                da.iter_mut().zip(b).for_each(|(da, b)| *da *= b);
                loops.row(db, a, p);
                db.iter_mut().zip(dy).for_each(|(db, dy)| *db *= dy);
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let operands = [("x", Operand::Input(0)), ("dy", Operand::Input(1)), ("dx", Operand::Output(0))];
        self.0.recipe(shapes, device, "gated_backward", &operands)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (2 * self.0.activation.flops + 3) * shapes.input_elements(1) as u64
    }
}

/// Every activation that gates; rows that fit an image and rows that do not.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let gates = Activation::all().filter(|one| one.is_by_element() && !one.learns());
    for (at, activation) in gates.enumerate() {
        for (rows, width, dtype) in [
            (1, 4, DType::F32),
            (37, 36, DType::F32),
            (33, 128, DType::F32),
            (7, 36, DType::F16),
            (40, 128, DType::F16),
        ] {
            let label = format!("{activation} [{rows}, {width}] of {dtype:?}");
            let mut case = CaseBuilder::new("gated", label, seed + at as u64);
            let x = case.input_of("x", &[rows, 2 * width], dtype, Fill::Normal(1.0));
            // Away from kinks, and from where a derivative is not the function's.
            let values = case.values(x).iter().map(|v| v.signum() * v.abs().max(0.12)).collect();
            case.set(x, values);
            let y = case.tape.gated(x, activation, 0.1);
            // The bound of an activation, times factors of about one.
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 4e-6 };
            cases.push(case.finish(&[y], &[], bound));
        }
    }
    cases
}
