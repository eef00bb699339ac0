//! `y = Σ aᵢ·max(x, 0)ⁱ` for i from 0 to 3 with four learned coefficients (PolyCom, arXiv 2411.03884).
//!
//! Shapes: x and y are equal and of one type, f32 or f16; a `[4]`. Adjoint: dx = dy·Σ i·aᵢ·xⁱ⁻¹ above zero, and
//! daᵢ += Σ dy·max(x, 0)ⁱ, summed in two stages in a fixed order.

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::{BLOCK, simd};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// Coefficients.
pub const TERMS: usize = 4;

/// The op. Inputs: x, a. Output: y.
#[derive(Clone, Debug)]
struct PolyRelu;

/// Its adjoint. Inputs: x, a, dy. Outputs: dx, and da, to which it adds.
#[derive(Clone, Debug)]
struct PolyReluBackward;

impl Tape {
    /// Records the activation of `x` with four `coefficients`.
    pub fn poly_relu(&mut self, x: TensorId, coefficients: TensorId) -> TensorId {
        assert_eq!(self.shape(coefficients).dims(), [TERMS], "poly_relu: four coefficients");
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate_of("activation", &dims, self.info(x).dtype);
        self.record(PolyRelu, &[x, coefficients], &[y]);
        y
    }
}

/// max(x, 0), and NaN for NaN.
fn above(x: f64) -> f64 {
    if x < 0.0 { 0.0 } else { x }
}

/// A kernel of `poly_relu.wgsl`.
fn kernel(
    elements: &Elements,
    (entry, team): (&'static str, &str),
    constants: &[(&'static str, f64)],
) -> Kernel {
    let text = elements.text(include_str!("../../shaders/poly_relu.wgsl"), &[], &[("team", team)]);
    Kernel::new(text, entry, constants)
}

impl Op for PolyRelu {
    fn stem(&self) -> &'static str {
        "poly_relu"
    }

    fn name(&self) -> &'static str {
        "poly_relu"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let a = inputs[1];
        for (y, &x) in outputs[0].iter_mut().zip(inputs[0]) {
            let x = above(x);
            *y = a[0] + x * (a[1] + x * (a[2] + x * a[3]));
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let a = inputs[1];
        outputs[0].par_chunks_mut(BLOCK).zip(inputs[0].par_chunks(BLOCK)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for (y, &x) in y.iter_mut().zip(x) {
                        let x = if x < 0.0 { 0.0 } else { x };
                        *y = a[3].mul_add(x, a[2]).mul_add(x, a[1]).mul_add(x, a[0]);
                    }
                },
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let constants: Vec<_> = elements.constants().collect();
        let bindings = [("x", elements.read(0)), ("a", Operand::Input(1)), ("y", Operand::Output(0))];
        let kernel = kernel(&elements, ("poly_relu", Team::ALONE), &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let (x, a, gradient) = (adjoint.input(0), adjoint.input(1), adjoint.parameter_gradient(1));
        let dx = adjoint.fresh_like(0);
        adjoint.tape.record(PolyReluBackward, &[x, a, dy], &[dx, gradient]);
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        7 * shapes.input_elements(0) as u64
    }
}

impl Op for PolyReluBackward {
    fn stem(&self) -> &'static str {
        "poly_relu"
    }

    fn name(&self) -> &'static str {
        "poly_relu.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [x, a, dy] = inputs else { unreachable!("three inputs") };
        for (i, (&x, dy)) in x.iter().zip(*dy).enumerate() {
            let (up, r) = (f64::from(u8::from(x > 0.0)), above(x));
            outputs[0][i] = dy * up * (a[1] + r * (2.0 * a[2] + r * 3.0 * a[3]));
            for (term, to) in outputs[1].iter_mut().enumerate() {
                *to += dy * r.powi(term as i32);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let ([x, a, dy], [dx, d_a]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
        let blocks = dx.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK).zip(dy.par_chunks(BLOCK)));
        let sums = blocks.map(|(dx, (x, dy))| {
            /// Partial sums, which the compiler keeps in vector registers.
            const LANES: usize = 16;
            let mut sums = [[0.0_f32; LANES]; TERMS];
            simd(
                #[inline(always)]
                || {
                    let parts = dx.chunks_mut(LANES).zip(x.chunks(LANES).zip(dy.chunks(LANES)));
                    for (dx, (x, dy)) in parts {
                        for (l, (dx, (&x, &d))) in dx.iter_mut().zip(x.iter().zip(dy)).enumerate() {
                            let r = if x < 0.0 { 0.0 } else { x };
                            let slope = (3.0 * a[3]).mul_add(r, 2.0 * a[2]).mul_add(r, a[1]);
                            *dx = if x > 0.0 { d * slope } else { 0.0 };
                            sums[0][l] += d;
                            sums[1][l] = d.mul_add(r, sums[1][l]);
                            sums[2][l] = (d * r).mul_add(r, sums[2][l]);
                            sums[3][l] = (d * r * r).mul_add(r, sums[3][l]);
                        }
                    }
                },
            );
            sums.map(|lanes| lanes.into_iter().map(f64::from).sum::<f64>())
        });
        for sums in sums.collect::<Vec<_>>() {
            d_a.iter_mut().zip(sums).for_each(|(to, sum)| *to = (f64::from(*to) + sum) as f32);
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial sums; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let elements = Elements::of(shapes, device, &[0]);
        let team = Team::single(device);
        let each = elements.vectors.div_ceil(MOST_PARTS).max(8);
        let parts = elements.vectors.div_ceil(each);
        let mut own = vec![
            ("VECTORS", elements.vectors as f64),
            ("COUNT", shapes.input_elements(0) as f64),
            ("PARTS", parts as f64),
        ];
        own.extend(elements.texels.map(|texels| ("TEXELS", texels as f64)));
        let shares = Dispatch {
            kernel: kernel(&elements, ("poly_relu_backward", Team::ALONE), &own),
            bindings: vec![
                ("x", elements.read(0)),
                ("a", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("dx", Operand::Output(0)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: element::lanes(parts),
        };
        let own = [("PARTS", parts as f64), ("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)];
        let total = Dispatch {
            kernel: kernel(&elements, ("coefficient_total", team.kind), &own),
            bindings: vec![("parts", Operand::Scratch(0)), ("d_a", Operand::Output(1))],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, total], scratch: vec![TERMS * parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        14 * shapes.input_elements(0) as u64
    }
}

/// Sizes around a vector, rows that fit an image and rows that do not. Inputs stay away from the kink at 0.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, width) in [(1, 3), (37, 131), (300, 20), (40, 128)] {
            let mut case = CaseBuilder::new("poly_relu", format!("[{rows}, {width}] of {dtype:?}"), seed);
            let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(1.0));
            let values = case.values(x).iter().map(|v| v.signum() * v.abs().max(0.02)).collect();
            case.set(x, values);
            let a = case.parameter("a", &[TERMS], Fill::Around(0.33, 0.1));
            let y = case.tape.poly_relu(x, a);
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 5e-6 };
            let mut case = case.finish(&[y], &[], bound);
            // A sum of many terms of both signs can be near zero by chance: a start value of the terms' scale keeps the
            // magnitude up.
            let gradient = case.tape.known_gradient(a).expect("a has a gradient");
            for (tensor, values) in &mut case.values {
                if *tensor == gradient {
                    values.fill(500.0);
                }
            }
            cases.push(case);
        }
    }
    cases
}
