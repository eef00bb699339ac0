//! `y = s·x` with one learned s: the scale after the embedding of models without norms (arXiv 2503.10622).
//!
//! Shapes: x and y of any shape, in f32; s `[1]`. Adjoint: dx = s·dy; ds += Σ dy·x, summed in two stages in a fixed order.

mod host;

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, Io, Tape, TensorId};

/// The op. Inputs: x, s. Output: y.
#[derive(Debug)]
struct LearnedScale;

/// Its adjoint. Inputs: x, s, dy. Outputs: dx, and ds, to which it adds.
#[derive(Debug)]
struct LearnedScaleBackward;

impl Tape {
    /// Records s·x; `scale` is `[1]`.
    pub fn learned_scale(&mut self, x: TensorId, scale: TensorId) -> TensorId {
        assert_eq!(self.shape(scale).dims(), [1], "learned_scale: {}", self.info(scale).name);
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate("scaled", &dims);
        self.record(LearnedScale, &[x, scale], &[y]);
        y
    }
}

/// A kernel of `learned_scale.wgsl`. Kernels that sum over lanes use `team`.
fn kernel(
    elements: &Elements,
    entry: &'static str,
    team: Option<&Team>,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let team = team.map_or(Team::ALONE, |team| team.kind);
    let numbers = element::WALK;
    let flags = [("images", elements.texels.is_some())];
    let shader = include_str!("../../shaders/learned_scale.wgsl");
    let text = super::unroll::unroll(shader, &numbers, &flags, &[("team", team.to_owned())]);
    Kernel::new(text, entry, constants)
}

/// The tuning key of the adjoint.
fn key(shapes: &Shapes<'_>) -> String {
    let (rows, columns) = shapes.inputs[0].as_matrix();
    format!("learned_scale_backward {rows}x{columns}")
}

impl Op for LearnedScale {
    fn stem(&self) -> &'static str {
        "learned_scale"
    }

    fn name(&self) -> &'static str {
        "learned_scale"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        outputs[0].iter_mut().zip(inputs[0]).for_each(|(y, x)| *y = inputs[1][0] * x);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::forward(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("learned_scale", &[0]);
        let elements = Elements::of(shapes, device, &[0]);
        let bindings = [("x", elements.read(0)), ("scale", Operand::Input(1)), ("y", Operand::Output(0))];
        let constants: Vec<_> = elements.constants().collect();
        let kernel = kernel(&elements, "learned_scale", None, &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let [x, scale] = [0, 1].map(|i| adjoint.input(i));
        let dx = adjoint.fresh_like(0);
        let d_scale = adjoint.parameter_gradient(1);
        adjoint.tape.record(LearnedScaleBackward, &[x, scale, dy], &[dx, d_scale]);
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

impl Op for LearnedScaleBackward {
    fn stem(&self) -> &'static str {
        "learned_scale"
    }

    fn name(&self) -> &'static str {
        "learned_scale.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [x, scale, dy] = inputs else { unreachable!("three inputs") };
        for (i, d) in dy.iter().enumerate() {
            outputs[0][i] = scale[0] * d;
            outputs[1][0] += d * x[i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::backward(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial sums; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let elements = Elements::of(shapes, device, &[0]);
        let team = Team::chosen(&key(shapes), device);
        let vectors = elements.vectors;
        // Short runs of vectors keep a GPU busy; on a CPU, a workgroup costs more than a few vectors.
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let shared = [("TEAM_LANES", team.lanes as f64), ("TEAM", team.size as f64), ("PARTS", parts as f64)];
        let own = [("COUNT", shapes.input_elements(0) as f64), ("EACH_LANE", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        let shares = Dispatch {
            kernel: kernel(&elements, "learned_scale_backward", Some(&team), &constants),
            bindings: vec![
                ("x", elements.read(0)),
                ("scale", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("dx", Operand::Output(0)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: grid(team.workgroups(parts)),
        };
        let total = Dispatch {
            kernel: kernel(&elements, "scale_total", Some(&team), &shared),
            bindings: vec![("parts", Operand::Scratch(0)), ("d_scale", Operand::Output(1))],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, total], scratch: vec![parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key(shapes), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

/// Sizes around a vector and a team's share, with and without rows that fit an image.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [[1, 1], [3, 7], [37, 131], [64, 512], [40, 128], [40, 20]] {
        let mut case = CaseBuilder::new("learned_scale", format!("{shape:?}"), seed);
        let x = case.input("x", &shape, Fill::Normal(1.0));
        let scale = case.parameter("scale", &[1], Fill::Normal(1.0));
        case.set(scale, vec![1.7]);
        let y = case.tape.learned_scale(x, scale);
        let mut case = case.finish(&[y], &[], 2e-6);
        // A sum of many terms of both signs can be near zero by chance. A start value of twice the terms' scale, 3·√32,768,
        // keeps the magnitude up.
        let gradient = case.tape.known_gradient(scale).expect("s has a gradient");
        for (tensor, values) in &mut case.values {
            if *tensor == gradient {
                values.fill(1000.0);
            }
        }
        cases.push(case);
    }
    cases
}
