//! `c = a + b`, element by element: the residual stream's sum.
//!
//! Shapes: all equal. Adjoint: da = dc, db = dc.
//! `AddInto` is `total += a`, for parameter gradients that arrive as an intermediate.
//!
//! The tape itself sums gradients with this op, so it lives here; its cases are in `ops/add.rs`.

use super::recipe::{Kernel, Operand, Recipe, Traits, grid};
use super::{Adjoint, Io, Op, Shapes, Tape, TensorId};
use crate::cores::{fill, simd};

/// The op; see the module's documentation.
#[derive(Debug)]
pub struct Add;

impl Tape {
    /// Records `a + b`; both have one shape.
    pub fn add(&mut self, a: TensorId, b: TensorId) -> TensorId {
        assert_eq!(self.shape(a), self.shape(b), "add: {} and {}", self.info(a).name, self.info(b).name);
        let dims = self.shape(a).dims().to_vec();
        let c = self.intermediate("sum", &dims);
        self.record(Add, &[a, b], &[c]);
        c
    }
}

/// `total += a`.
#[derive(Debug)]
pub struct AddInto;

impl Tape {
    /// Records `total += a`; both have one shape.
    pub fn add_into(&mut self, a: TensorId, total: TensorId) {
        assert_eq!(
            self.shape(a),
            self.shape(total),
            "add: {} into {}",
            self.info(a).name,
            self.info(total).name
        );
        self.record(AddInto, &[a], &[total]);
    }
}

impl Op for AddInto {
    fn stem(&self) -> &'static str {
        "add"
    }

    fn name(&self) -> &'static str {
        "add.into"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        for (c, a) in outputs[0].iter_mut().zip(inputs[0]) {
            *c += a;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        fill(outputs[0], |first, total| {
            let a = &inputs[0][first..][..total.len()];
            simd(
                #[inline(always)]
                || total.iter_mut().zip(a).for_each(|(total, a)| *total += a),
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let (kernel, groups) = kernel(shapes, "add_into");
        Recipe::one(kernel, &[("a", Operand::Input(0)), ("c", Operand::Output(0))], groups)
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.output_elements(0) as u64
    }
}

fn kernel(shapes: &Shapes<'_>, entry: &'static str) -> (Kernel, [u32; 3]) {
    let vectors = shapes.output_elements(0).div_ceil(4);
    let text = include_str!("../../shaders/add.wgsl");
    (Kernel::new(text, entry, &[("VECTORS", vectors as f64)]), grid(vectors.div_ceil(256)))
}

impl Op for Add {
    fn stem(&self) -> &'static str {
        "add"
    }

    fn name(&self) -> &'static str {
        "add"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        for ((c, a), b) in outputs[0].iter_mut().zip(inputs[0]).zip(inputs[1]) {
            *c = a + b;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        fill(outputs[0], |first, c| {
            let [a, b] = [0, 1].map(|i| &inputs[i][first..][..c.len()]);
            simd(
                #[inline(always)]
                || c.iter_mut().zip(a.iter().zip(b)).for_each(|(c, (a, b))| *c = a + b),
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let vectors = shapes.output_elements(0).div_ceil(4);
        let kernel =
            Kernel::new(include_str!("../../shaders/add.wgsl"), "add", &[("VECTORS", vectors as f64)]);
        let bindings = [("a", Operand::Input(0)), ("b", Operand::Input(1)), ("c", Operand::Output(0))];
        Recipe::one(kernel, &bindings, grid(vectors.div_ceil(256)))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dc) = adjoint.gradient(0) else { return };
        for i in 0..2 {
            if adjoint.wants(i) {
                adjoint.contribute(i, dc);
            }
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.output_elements(0) as u64
    }
}
