//! `y = x + b` with one learned number b (Fixup's biases, arXiv 1901.09321), and `y = c·x` with a constant c (the scaling of
//! norms by depth, arXiv 2502.05795).
//!
//! Shapes: x and y are equal and of one type, f32 or f16; b `[1]`. Adjoint of the shift: dx = dy, which needs no op, and
//! db = Σ dy, summed in two stages in a fixed order. Adjoint of the scaling: dx = c·dy, the same op.

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, grid};
use crate::cores::{TASK, fill, simd};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The shift. Inputs: x, b. Output: y.
#[derive(Clone, Debug)]
struct Shift;

/// db. Input: dy. Output: db, which it adds to with `accumulate`.
#[derive(Clone, Debug)]
struct ShiftTotal {
    accumulate: bool,
}

/// The scaling. Input: x. Output: y.
#[derive(Clone, Debug)]
struct Scale {
    constant: f32,
}

impl Tape {
    /// Records x + b for a `b` of one element.
    pub fn shift(&mut self, x: TensorId, b: TensorId) -> TensorId {
        assert_eq!(self.shape(b).dims(), [1], "shift: {}", self.info(b).name);
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate_of("shifted", &dims, self.info(x).dtype);
        self.record(Shift, &[x, b], &[y]);
        y
    }

    /// Records `constant`·x.
    pub fn scaled(&mut self, x: TensorId, constant: f32) -> TensorId {
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate_of("scaled", &dims, self.info(x).dtype);
        self.scaled_into(x, constant, y);
        y
    }

    /// Records that `y` becomes `constant`·x.
    pub fn scaled_into(&mut self, x: TensorId, constant: f32, y: TensorId) {
        assert_eq!(self.shape(x), self.shape(y), "scaled: {}", self.info(y).name);
        self.record(Scale { constant }, &[x], &[y]);
    }
}

/// A kernel of `shift.wgsl`.
fn kernel(
    elements: &Elements,
    (entry, team): (&'static str, &str),
    constants: &[(&'static str, f64)],
) -> Kernel {
    let text = elements.text(include_str!("../../shaders/shift.wgsl"), &[], &[("team", team)]);
    Kernel::new(text, entry, constants)
}

impl Op for Shift {
    fn stem(&self) -> &'static str {
        "shift"
    }

    fn name(&self) -> &'static str {
        "shift"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        outputs[0].iter_mut().zip(inputs[0]).for_each(|(y, x)| *y = x + inputs[1][0]);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let b = inputs[1][0];
        fill(outputs[0], |first, y| {
            let x = &inputs[0][first..][..y.len()];
            simd(
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, x)| *y = x + b),
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let constants: Vec<_> = elements.constants().collect();
        let bindings = [("x", elements.read(0)), ("b", Operand::Input(1)), ("y", Operand::Output(0))];
        let kernel = kernel(&elements, ("shift", Team::ALONE), &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        if adjoint.wants(1) {
            let (db, accumulate) = adjoint.begin_gradient(1);
            adjoint.tape.record(ShiftTotal { accumulate }, &[dy], &[db]);
        }
        if adjoint.wants(0) {
            adjoint.contribute(0, dy);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

impl Op for ShiftTotal {
    fn stem(&self) -> &'static str {
        "shift"
    }

    fn name(&self) -> &'static str {
        "shift.total"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let before = if self.accumulate { outputs[0][0] } else { 0.0 };
        outputs[0][0] = before + inputs[0].iter().sum::<f64>();
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let of_task = |dy: &[f32]| dy.iter().map(|&d| f64::from(d)).sum::<f64>();
        let sums: Vec<f64> = inputs[0].par_chunks(TASK).map(of_task).collect();
        let before = if self.accumulate { f64::from(outputs[0][0]) } else { 0.0 };
        outputs[0][0] = (before + sums.iter().sum::<f64>()) as f32;
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial sums; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let elements = Elements::of(shapes, device, &[0]);
        let team = Team::of(device);
        let vectors = elements.vectors;
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let shared = [("LANES_HERE", team.lanes as f64), ("TEAM", team.size as f64), ("PARTS", parts as f64)];
        let own = [("COUNT", shapes.input_elements(0) as f64), ("TEAM_EACH", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        let shares = Dispatch {
            kernel: kernel(&elements, ("shift_parts", team.kind), &constants),
            bindings: vec![("x", elements.read(0)), ("parts", Operand::Scratch(0))],
            groups: grid(team.workgroups(parts)),
        };
        let accumulate = [("ACCUMULATE", f64::from(u8::from(self.accumulate)))];
        let total = Dispatch {
            kernel: kernel(&elements, ("shift_total", team.kind), &[&shared[..], &accumulate].concat()),
            bindings: vec![("parts", Operand::Scratch(0)), ("db", Operand::Output(0))],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, total], scratch: vec![parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

impl Op for Scale {
    fn stem(&self) -> &'static str {
        "shift"
    }

    fn name(&self) -> &'static str {
        "scale"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        outputs[0].iter_mut().zip(inputs[0]).for_each(|(y, x)| *y = f64::from(self.constant) * x);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let constant = self.constant;
        fill(outputs[0], |first, y| {
            let x = &inputs[0][first..][..y.len()];
            simd(
                #[inline(always)]
                || y.iter_mut().zip(x).for_each(|(y, x)| *y = constant * x),
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let own = [("CONSTANT", f64::from(self.constant))];
        let constants: Vec<_> = elements.constants().chain(own).collect();
        let bindings = [("x", elements.read(0)), ("y", Operand::Output(0))];
        let kernel = kernel(&elements, ("scale", Team::ALONE), &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(self.clone(), &[dy], &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

/// Both ops, at sizes around a vector and a team's share, with rows that fit an image and rows that do not.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let f32s = [[1, 1], [3, 7], [37, 131], [64, 512], [40, 128]].map(|shape| (shape, DType::F32));
    let f16s = [[3, 7], [37, 131], [64, 512], [40, 128]].map(|shape| (shape, DType::F16));
    for (at, (shape, dtype)) in f32s.into_iter().chain(f16s).enumerate() {
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
        let mut case = CaseBuilder::new("shift", format!("c·x {shape:?} of {dtype:?}"), seed);
        let x = case.input_of("x", &shape, dtype, Fill::Normal(1.0));
        let y = case.tape.scaled(x, 0.577);
        cases.push(case.finish(&[y], &[], bound));
        let mut case = CaseBuilder::new("shift", format!("x + b {shape:?} of {dtype:?}"), seed);
        // As in a step of one micro-batch.
        let overwrites = at % 2 == 1;
        if overwrites {
            case.tape.overwrite_gradients();
        }
        let x = case.input_of("x", &shape, dtype, Fill::Normal(1.0));
        let b = case.parameter("b", &[1], Fill::Normal(0.5));
        let y = case.tape.shift(x, b);
        let mut case = case.finish(&[y], &[], bound);
        // A sum of many terms of both signs can be near zero by chance: a start value of the terms' scale keeps the magnitude
        // up; where it is overwritten, terms of one sign do.
        let gradient = case.tape.known_gradient(b).expect("b has a gradient");
        for (tensor, values) in &mut case.values {
            match overwrites {
                true => values.iter_mut().for_each(|value| *value = value.abs()),
                false if *tensor == gradient => values.fill(500.0),
                false => {}
            }
        }
        cases.push(case);
    }
    cases
}
