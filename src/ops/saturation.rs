//! How much of its input a bounded norm saturates: the shares of |u| = |α·x + s| above each of [`THRESHOLDS`], and mean γ.
//!
//! Shapes: x of any shape, in f32; γ `[d]`; α, s `[1]`, each optional (then one, and zero); out `[5]`. Counted in two stages.
//! An observation: no adjoint.

mod host;

use super::element::Elements;
use super::team::Team;
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, grid};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Io, Tape, TensorId};

/// The sizes of u whose shares are measured. At one, tanh has 42% of its slope left; at three, 1%.
pub const THRESHOLDS: [f64; 4] = [0.5, 1.0, 2.0, 3.0];

/// Elements of `out`: a share for each threshold, and mean γ.
pub const MEASURES: usize = THRESHOLDS.len() + 1;

/// The op. Inputs: x, γ, then α and s if there are. Output: out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Saturation {
    scaled: bool,
    /// Only beside α.
    shifted: bool,
}

/// What a bounded norm learns.
#[derive(Clone, Copy, Debug)]
pub struct Saturated {
    /// `[d]`
    pub gamma: TensorId,
    /// `[1]`
    pub alpha: Option<TensorId>,
    /// `[1]`, only beside α
    pub shift: Option<TensorId>,
}

impl Tape {
    /// Records the shares of |α·x + s| above the thresholds, and the mean of γ, into `out` `[5]`.
    pub fn saturation(&mut self, x: TensorId, of: Saturated, out: TensorId) {
        assert_eq!(self.shape(out).dims(), [MEASURES], "saturation: {}", self.info(out).name);
        assert!(of.alpha.is_some() || of.shift.is_none(), "s without α");
        let inputs: Vec<_> = [x, of.gamma].into_iter().chain(of.alpha).chain(of.shift).collect();
        self.record(Saturation { scaled: of.alpha.is_some(), shifted: of.shift.is_some() }, &inputs, &[out]);
    }
}

impl Saturation {
    /// α and s.
    fn scalars<F: Copy + From<f32>>(self, inputs: &[&[F]]) -> [F; 2] {
        let alpha = if self.scaled { inputs[2][0] } else { F::from(1.0) };
        let shift = if self.shifted { inputs[3][0] } else { F::from(0.0) };
        [alpha, shift]
    }
}

impl Op for Saturation {
    fn stem(&self) -> &'static str {
        "saturation"
    }

    fn name(&self) -> &'static str {
        "saturation"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [alpha, shift] = self.scalars(inputs);
        for (out, threshold) in outputs[0].iter_mut().zip(THRESHOLDS) {
            let above = inputs[0].iter().filter(|&x| (alpha * x + shift).abs() > threshold).count();
            *out = above as f64 / inputs[0].len() as f64;
        }
        outputs[0][THRESHOLDS.len()] = inputs[1].iter().sum::<f64>() / inputs[1].len() as f64;
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let scalars = self.scalars(inputs);
        host::measure(inputs[0], inputs[1], scalars, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial counts; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let elements = Elements::of(shapes, device, &[0]);
        let team = Team::single(device);
        let vectors = elements.vectors;
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let flags =
            [("images", elements.texels.is_some()), ("scaled", self.scaled), ("shifted", self.shifted)];
        let shader = include_str!("../../shaders/saturation.wgsl");
        let text = unroll(shader, &[], &flags, &[("team", team.kind.to_owned())]);
        let shared = [
            ("LANES", team.lanes as f64),
            ("TEAM", team.size as f64),
            ("PARTS", parts as f64),
            ("COUNT", shapes.input_elements(0) as f64),
        ];
        let own = [("EACH", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        let mut bindings: Vec<Binding> = vec![("x", elements.read(0)), ("parts", Operand::Scratch(0))];
        bindings.extend(self.scaled.then_some(("alpha", Operand::Input(2))));
        bindings.extend(self.shifted.then_some(("shift", Operand::Input(3))));
        let counts = Dispatch {
            kernel: Kernel::new(text.clone(), "count_above", &constants),
            bindings,
            groups: grid(team.workgroups(parts)),
        };
        let width = shapes.input_elements(1);
        let constants = [&shared[..], &[("WIDTH", width as f64)]].concat();
        let shares = Dispatch {
            kernel: Kernel::new(text, "shares", &constants),
            bindings: vec![
                ("parts", Operand::Scratch(0)),
                ("gamma", Operand::Input(1)),
                ("out", Operand::Output(0)),
            ],
            groups: [1, 1, 1],
        };
        let iterations = each.max(parts.max(width).div_ceil(team.size));
        Recipe { dispatches: vec![counts, shares], scratch: vec![4 * parts], iterations }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        10 * shapes.input_elements(0) as u64
    }
}

/// Sizes around a vector and a team's share, rows that fit an image; with and without α and s. No u is near a threshold,
/// where f32 and f64 might disagree.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, scaled, shifted) in [
        (1, 1, true, true),
        (3, 7, true, false),
        (37, 131, true, true),
        (40, 64, true, true),
        (65, 128, true, false),
        (64, 512, false, false),
        (9, 20, false, false),
        (9, 20, true, false),
    ] {
        let label = format!("[{rows}, {width}], α {scaled}, s {shifted}");
        let mut case = CaseBuilder::new("saturation", label, seed);
        let x = case.input("x", &[rows, width], Fill::Normal(1.5));
        let gamma = case.input("gamma", &[width], Fill::Around(1.0, 0.3));
        let (scale, offset) = (if scaled { 0.7_f32 } else { 1.0 }, if shifted { -0.2_f32 } else { 0.0 });
        let constant = |case: &mut CaseBuilder, name, value: f32| {
            let tensor = case.input(name, &[1], Fill::Normal(1.0));
            case.set(tensor, vec![value]);
            tensor
        };
        let alpha = scaled.then(|| constant(&mut case, "alpha", scale));
        let shift = shifted.then(|| constant(&mut case, "shift", offset));
        let apart = |u: f32| {
            let near = THRESHOLDS.into_iter().any(|t| (u.abs() - t as f32).abs() < 1e-3);
            if near { u * 1.01 } else { u }
        };
        let values = case.values(x).iter().map(|&u| (apart(u) - offset) / scale).collect();
        case.set(x, values);
        let out = case.observation("out", &[MEASURES], 0.5);
        case.tape.saturation(x, Saturated { gamma, alpha, shift }, out);
        // Counts are whole numbers below 2²⁴; the division and the mean round a few times.
        cases.push(case.finish(&[], &[], 1e-6));
    }
    cases
}
