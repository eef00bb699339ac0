//! `z = β·x + y/α`: the residual stream plus a layer's contribution, each with a learned scale (arXiv 2501.03489, the
//! scaled feed-forward network).
//!
//! Shapes: x, y and z are equal; x and z in f32, y in f32 or f16; α, β `[1]`. Adjoint: dx = β·dz, dy = dz/α, dβ = Σ dz·x,
//! dα = −(1/α²) Σ dz·y, summed in two stages in a fixed order.

mod host;

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: x, y, α, β. Output: z.
#[derive(Clone, Debug)]
pub struct ScaledSum;

/// Its adjoint. Inputs: x, y, α, β, dz. Outputs: dx, dy, dα and dβ; with `accumulate`, it adds to the last two.
#[derive(Clone, Debug)]
pub struct ScaledSumBackward {
    pub accumulate: bool,
}

impl Tape {
    /// Records β·x + y/α. `x` and `y` have the same shape; `alpha` and `beta` are `[1]`.
    pub fn scaled_sum(&mut self, x: TensorId, y: TensorId, alpha: TensorId, beta: TensorId) -> TensorId {
        assert_eq!(
            self.shape(x),
            self.shape(y),
            "scaled_sum: {} and {}",
            self.info(x).name,
            self.info(y).name
        );
        assert!([alpha, beta].iter().all(|&scale| self.shape(scale).dims() == [1]), "one α and one β");
        let dims = self.shape(x).dims().to_vec();
        let z = self.intermediate("scaled sum", &dims);
        self.record(ScaledSum, &[x, y, alpha, beta], &[z]);
        z
    }
}

/// A kernel of `scaled_sum.wgsl`. Kernels that sum over lanes use `team`.
fn kernel(
    elements: &Elements,
    entry: &'static str,
    team: Option<&Team>,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let team = team.map_or(Team::ALONE, |team| team.kind);
    let text = elements.text(include_str!("../../shaders/scaled_sum.wgsl"), &[], &[("team", team)]);
    Kernel::new(text, entry, constants)
}

/// The tuning key of the adjoint.
fn key(shapes: &Shapes<'_>) -> String {
    let (rows, columns) = shapes.inputs[0].as_matrix();
    format!("scaled_sum_backward {rows}x{columns}")
}

impl Op for ScaledSum {
    fn stem(&self) -> &'static str {
        "scaled_sum"
    }

    fn name(&self) -> &'static str {
        "scaled_sum"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [x, y, alpha, beta] = inputs else { panic!("four inputs") };
        for (z, (x, y)) in outputs[0].iter_mut().zip(x.iter().zip(*y)) {
            *z = beta[0] * x + y / alpha[0];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::forward(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0, 1]);
        let bindings = [
            ("x", elements.read(0)),
            ("y", elements.read(1)),
            ("alpha", Operand::Input(2)),
            ("beta", Operand::Input(3)),
            ("z", Operand::Output(0)),
        ];
        let constants: Vec<_> = elements.constants().collect();
        let kernel = kernel(&elements, "scaled_sum", None, &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dz) = adjoint.gradient(0) else { return };
        let [x, y, alpha, beta] = [0, 1, 2, 3].map(|i| adjoint.input(i));
        let [dx, dy] = [0, 1].map(|i| adjoint.fresh_like(i));
        let [(d_alpha, adds), (d_beta, also)] = [2, 3].map(|i| adjoint.begin_gradient(i));
        assert_eq!(adds, also, "α and β are used together");
        let op = ScaledSumBackward { accumulate: adds };
        adjoint.tape.record(op, &[x, y, alpha, beta, dz], &[dx, dy, d_alpha, d_beta]);
        for (i, gradient) in [(0, dx), (1, dy)] {
            if adjoint.wants(i) {
                adjoint.contribute(i, gradient);
            }
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl Op for ScaledSumBackward {
    fn stem(&self) -> &'static str {
        "scaled_sum"
    }

    fn name(&self) -> &'static str {
        "scaled_sum.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [x, y, alpha, beta, dz] = inputs else { panic!("five inputs") };
        let (mut with_x, mut with_y) = (0.0, 0.0);
        for (i, d) in dz.iter().enumerate() {
            outputs[0][i] = beta[0] * d;
            outputs[1][i] = d / alpha[0];
            with_x += d * x[i];
            with_y += d * y[i];
        }
        for (i, sum) in [(2, -with_y / (alpha[0] * alpha[0])), (3, with_x)] {
            outputs[i][0] = if self.accumulate { outputs[i][0] + sum } else { sum };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::backward(io, self.accumulate);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial sums; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let elements = Elements::of(shapes, device, &[0, 1]);
        let team = Team::chosen(&key(shapes), device);
        let vectors = elements.vectors;
        // Short runs of vectors keep a GPU busy; on a CPU, a workgroup costs more than a few vectors.
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let shared = [("LANES", team.lanes as f64), ("TEAM", team.size as f64), ("PARTS", parts as f64)];
        let own = [("COUNT", shapes.input_elements(0) as f64), ("EACH", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        let shares = Dispatch {
            kernel: kernel(&elements, "scaled_sum_backward", Some(&team), &constants),
            bindings: vec![
                ("x", elements.read(0)),
                ("y", elements.read(1)),
                ("alpha", Operand::Input(2)),
                ("beta", Operand::Input(3)),
                ("dz", elements.read(4)),
                ("dx", Operand::Output(0)),
                ("dy", Operand::Output(1)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: grid(team.workgroups(parts)),
        };
        let mut constants = shared.to_vec();
        constants.push(("ACCUMULATE", f64::from(u8::from(self.accumulate))));
        let totals = Dispatch {
            kernel: kernel(&elements, "scale_totals", Some(&team), &constants),
            bindings: vec![
                ("parts", Operand::Scratch(0)),
                ("alpha", Operand::Input(2)),
                ("d_alpha", Operand::Output(2)),
                ("d_beta", Operand::Output(3)),
            ],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, totals], scratch: vec![2 * parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, output: usize) -> bool {
        output > 1 && self.accumulate
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key(shapes), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        6 * shapes.input_elements(0) as u64
    }
}

/// Sizes around a vector and a team's share, with and without rows that fit an image; α and β on either side of one.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let f32s = [[1, 1], [3, 7], [37, 131], [64, 512], [40, 128]].map(|shape| (shape, DType::F32));
    let f16s = [[3, 7], [37, 131], [64, 512], [40, 128]].map(|shape| (shape, DType::F16));
    for (at, (shape, dtype)) in f32s.into_iter().chain(f16s).enumerate() {
        let mut case = CaseBuilder::new("scaled_sum", format!("{shape:?} of {dtype:?}"), seed);
        // As in a step of one micro-batch.
        let overwrites = [[37, 131], [40, 128]].contains(&shape);
        if overwrites {
            case.tape.overwrite_gradients();
        }
        let x = case.input("x", &shape, Fill::Normal(1.0));
        let y = case.input_of("y", &shape, dtype, Fill::Normal(1.0));
        let alpha = case.parameter("alpha", &[1], Fill::Normal(1.0));
        let beta = case.parameter("beta", &[1], Fill::Normal(1.0));
        case.set(alpha, vec![if at % 2 == 0 { 0.6 } else { 1.7 }]);
        case.set(beta, vec![if at % 3 == 0 { 1.2 } else { -0.8 }]);
        let z = case.tape.scaled_sum(x, y, alpha, beta);
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
        let mut case = case.finish(&[z], &[], bound);
        // A sum of many terms of both signs can be near zero by chance. A start value of twice the terms' scale, 3 · √32768,
        // keeps the magnitude up; if the start value is overwritten, terms of one sign do. The reciprocal may be off by 2.5
        // units.
        let scales = [alpha, beta].map(|scale| case.tape.known_gradient(scale));
        if overwrites {
            let kept = [Some(alpha), Some(beta), scales[0], scales[1]];
            for (_, values) in case.values.iter_mut().filter(|(tensor, _)| !kept.contains(&Some(*tensor))) {
                values.iter_mut().for_each(|value| *value = value.abs());
            }
        }
        for scale in [alpha, beta] {
            let gradient = case.tape.known_gradient(scale).expect("α and β have gradients");
            for (tensor, values) in &mut case.values {
                if *tensor == gradient {
                    values.fill(1000.0);
                }
            }
        }
        cases.push(case);
    }
    cases
}
