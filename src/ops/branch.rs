//! `z = x + s·y`: the residual stream plus a branch times a factor. The factor is a constant, a learned number (ReZero, arXiv
//! 2003.04887; SkipInit, arXiv 2002.10444; Fixup's multiplier, arXiv 1901.09321), or a learned vector with one number for each
//! column (LayerScale, arXiv 2103.17239).
//!
//! Shapes: x, y and z `[R, d]` with d a multiple of four; x and z in f32, y in f32 or f16; s `[1]` or `[d]`. Adjoint: dx = dz,
//! which needs no op; dy = s·dz; ds = Σ dz·y over all, or over each column, summed in two stages in a fixed order.

mod host;

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The factor of a branch.
#[derive(Clone, Copy, Debug)]
pub enum Factor {
    Constant(f32),
    /// A parameter `[1]` or `[d]`.
    Learned(TensorId),
}

/// The op. Inputs: x, y and, if it is learned, s. Output: z.
#[derive(Clone, Debug)]
struct Branch {
    /// The constant, or 1 if s is learned.
    constant: f32,
}

/// dy. Inputs: dz and, if it is learned, s. Output: dy.
#[derive(Clone, Debug)]
struct BranchBackward {
    constant: f32,
}

/// ds. Inputs: y, dz. Output: ds, which it adds to with `accumulate`.
#[derive(Clone, Debug)]
struct BranchFactor {
    accumulate: bool,
}

impl Tape {
    /// Records x + s·y for `x` and `y` `[R, d]`.
    pub fn branch(&mut self, x: TensorId, y: TensorId, factor: Factor) -> TensorId {
        let (rows, width) = self.shape(x).as_matrix();
        assert_eq!(self.shape(x), self.shape(y), "branch: {} and {}", self.info(x).name, self.info(y).name);
        assert!(width.is_multiple_of(4), "branch: rows of {width}");
        let z = self.intermediate("branch", &[rows, width]);
        match factor {
            Factor::Constant(constant) => self.record(Branch { constant }, &[x, y], &[z]),
            Factor::Learned(s) => {
                let entries = self.shape(s).elements();
                assert!(entries == 1 || entries == width, "branch: {entries} factors of {width} columns");
                self.record(Branch { constant: 1.0 }, &[x, y, s], &[z]);
            }
        }
        z
    }
}

/// A kernel of `branch.wgsl`. `factors`: how many are learned.
fn kernel(
    elements: &Elements,
    factors: usize,
    team: &str,
    entry: &'static str,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let flags = [("learned", factors > 0), ("vector", factors > 1)];
    let text = elements.text(include_str!("../../shaders/branch.wgsl"), &flags, &[("team", team)]);
    Kernel::new(text, entry, constants)
}

/// The constants of the element-wise kernels.
fn constants(elements: &Elements, width: usize, factors: usize, constant: f32) -> Vec<(&'static str, f64)> {
    let mut constants: Vec<_> = elements.constants().collect();
    match factors {
        0 => constants.push(("CONSTANT", f64::from(constant))),
        1 => {}
        _ => constants.push(("WIDTH", (width / 4) as f64)),
    }
    constants
}

/// s for column `c`.
fn at(inputs: &[&[f64]], s: usize, constant: f32, c: usize) -> f64 {
    inputs.get(s).map_or(f64::from(constant), |s| s[c % s.len()])
}

impl Op for Branch {
    fn stem(&self) -> &'static str {
        "branch"
    }

    fn name(&self) -> &'static str {
        "branch"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (i, z) in outputs[0].iter_mut().enumerate() {
            *z = inputs[0][i] + at(inputs, 2, self.constant, i % width) * inputs[1][i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let s = inputs.get(2).copied().unwrap_or(std::slice::from_ref(&self.constant));
        host::sum(width, outputs[0], [inputs[0], inputs[1]], s);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0, 1]);
        let (_, width) = shapes.inputs[0].as_matrix();
        let factors = shapes.inputs.get(2).map_or(0, |s| s.elements());
        let own = constants(&elements, width, factors, self.constant);
        let mut bindings = vec![("x", elements.read(0)), ("y", elements.read(1)), ("z", Operand::Output(0))];
        bindings.extend((factors > 0).then_some(("s", Operand::Input(2))));
        let kernel = kernel(&elements, factors, Team::ALONE, "branch", &own);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dz) = adjoint.gradient(0) else { return };
        let mut inputs = vec![dz];
        if adjoint.inputs() > 2 {
            let (y, s) = (adjoint.input(1), adjoint.input(2));
            inputs.push(s);
            if adjoint.wants(2) {
                let (ds, accumulate) = adjoint.begin_gradient(2);
                adjoint.tape.record(BranchFactor { accumulate }, &[y, dz], &[ds]);
            }
        }
        if adjoint.wants(1) {
            let dy = adjoint.fresh_like(1);
            adjoint.tape.record(BranchBackward { constant: self.constant }, &inputs, &[dy]);
            adjoint.contribute(1, dy);
        }
        if adjoint.wants(0) {
            adjoint.contribute(0, dz);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for BranchBackward {
    fn stem(&self) -> &'static str {
        "branch"
    }

    fn name(&self) -> &'static str {
        "branch.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (i, dy) in outputs[0].iter_mut().enumerate() {
            *dy = at(inputs, 1, self.constant, i % width) * inputs[0][i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let s = inputs.get(1).copied().unwrap_or(std::slice::from_ref(&self.constant));
        host::times(width, outputs[0], inputs[0], s);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let half = shapes.half_output(0);
        let elements = Elements { half, ..Elements::of(shapes, device, &[0]) };
        let (_, width) = shapes.inputs[0].as_matrix();
        let factors = shapes.inputs.get(1).map_or(0, |s| s.elements());
        let own = constants(&elements, width, factors, self.constant);
        let mut bindings = vec![("dz", elements.read(0)), ("dy", Operand::Output(0))];
        bindings.extend((factors > 0).then_some(("s", Operand::Input(1))));
        let kernel = kernel(&elements, factors, Team::ALONE, "branch_backward", &own);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

impl Op for BranchFactor {
    fn stem(&self) -> &'static str {
        "branch"
    }

    fn name(&self) -> &'static str {
        "branch.factor"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let factors = outputs[0].len();
        if !self.accumulate {
            outputs[0].fill(0.0);
        }
        for (i, (y, dz)) in inputs[0].iter().zip(inputs[1]).enumerate() {
            outputs[0][i % width % factors] += dz * y;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::factor(width, self.accumulate, [inputs[0], inputs[1]], outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0, 1]);
        let ((rows, width), factors) = (shapes.inputs[0].as_matrix(), shapes.output_elements(0));
        // At most 128 blocks of rows, which one lane or one team then adds up.
        let each = rows.div_ceil(128).max(16);
        let (blocks, vectors) = (rows.div_ceil(each), width / 4);
        let mut own = vec![
            ("ROWS", rows as f64),
            ("ROWS_EACH", each as f64),
            ("BLOCKS", blocks as f64),
            ("WIDTH", vectors as f64),
        ];
        own.extend(elements.texels.map(|texels| ("TEXELS", texels as f64)));
        let shares = Dispatch {
            kernel: kernel(&elements, factors, Team::ALONE, "factor_parts", &own),
            bindings: vec![("y", elements.read(0)), ("dz", elements.read(1)), ("parts", Operand::Scratch(0))],
            groups: element::lanes(blocks * vectors),
        };
        let team = Team::single(device);
        let accumulate = ("ACCUMULATE", f64::from(u8::from(self.accumulate)));
        let sizes = [("WIDTH", vectors as f64), ("BLOCKS", blocks as f64), accumulate];
        let mut bindings = vec![("parts", Operand::Scratch(0))];
        let totals = if factors > 1 {
            bindings.push(("d_vector", Operand::Output(0)));
            let kernel = kernel(&elements, factors, Team::ALONE, "vector_total", &sizes);
            Dispatch { kernel, bindings, groups: element::lanes(vectors) }
        } else {
            bindings.push(("d_scalar", Operand::Output(0)));
            let lanes = [("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)];
            let kernel =
                kernel(&elements, factors, team.kind, "scalar_total", &[&sizes[..], &lanes].concat());
            Dispatch { kernel, bindings, groups: [1, 1, 1] }
        };
        Recipe {
            dispatches: vec![shares, totals],
            scratch: vec![blocks * width],
            iterations: each.max(blocks * if factors > 1 { 1 } else { vectors }),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

/// Every kind of factor; one row and many, rows that fit an image and rows that do not; a factor that two branches share.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [[1, 4], [7, 20], [37, 132], [64, 512], [40, 128]];
    for dtype in [DType::F32, DType::F16] {
        for (at, shape) in shapes.into_iter().enumerate() {
            for factors in [0, 1, shape[1]] {
                let label = format!("{shape:?} of {dtype:?}, {factors} factors");
                let mut case = CaseBuilder::new("branch", label, seed);
                // As in a step of one micro-batch.
                if at % 2 == 1 {
                    case.tape.overwrite_gradients();
                }
                let x = case.input("x", &shape, Fill::Normal(1.0));
                let y = case.input_of("y", &shape, dtype, Fill::Normal(1.0));
                let bound = if dtype == DType::F16 { HALF_BOUND } else { 3e-6 };
                if factors == 0 {
                    let z = case.tape.branch(x, y, Factor::Constant(0.3));
                    cases.push(case.finish(&[z], &[], bound));
                    continue;
                }
                let s = case.parameter("s", &[factors], Fill::Around(0.5, 0.2));
                let z = case.tape.branch(x, y, Factor::Learned(s));
                // A second branch, behind an op whose gradient is f32.
                let w = case.input_of("w", &shape, dtype, Fill::Normal(1.0));
                let z = case.tape.branch(z, w, Factor::Learned(s));
                let mut case = case.finish(&[z], &[], bound);
                // A sum of many terms of both signs can be near zero by chance: a start value of the terms' scale keeps the
                // magnitude up; where it is overwritten, terms of one sign do.
                let gradient = case.tape.known_gradient(s).expect("s has a gradient");
                for (tensor, values) in &mut case.values {
                    match at % 2 == 1 {
                        true if *tensor != s => values.iter_mut().for_each(|value| *value = value.abs()),
                        false if *tensor == gradient => values.fill(1000.0),
                        _ => {}
                    }
                }
                // An overwritten start value is no part of the gradient, which the first use begins anew.
                cases.push(case);
            }
        }
    }
    cases
}
