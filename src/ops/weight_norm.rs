//! The norm of a tensor of weights, and its return to that norm after an update: W ← W·‖W before‖/‖W‖, the projection of
//! normalize-and-project (Lyle et al. 2024, arXiv 2407.01800). As every step ends there, the norm before it is that of the first
//! values, but for rounding, and need not be kept.
//!
//! Shapes: weights `[n]`, norm `[1]`, the f16 copy `[n]`. A closed verdict leaves everything unchanged.

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::{TASK, simd, squares};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The norm. Input: weights. Output: norm.
#[derive(Clone, Debug)]
struct Measure;

/// The projection. Inputs: norm, verdict. Outputs: weights and their f16 copy, if there is one.
#[derive(Clone, Debug)]
struct Project;

impl Tape {
    /// Records the norm of `weights`.
    pub fn weight_norm(&mut self, weights: TensorId) -> TensorId {
        let norm = self.intermediate("norm", &[1]);
        self.record(Measure, &[weights], &[norm]);
        norm
    }

    /// Records the return of `weights` to that norm.
    pub fn project(&mut self, weights: TensorId, copy: Option<TensorId>, norm: TensorId, verdict: TensorId) {
        let outputs: Vec<_> = [weights].into_iter().chain(copy).collect();
        self.record(Project, &[norm, verdict], &outputs);
    }
}

/// The most partial sums of squares; one team adds them up.
const MOST_SHARES: usize = 4_096;

/// A kernel of `weight_norm.wgsl`.
fn kernel(half: bool, team: &str, entry: &'static str, constants: &[(&'static str, f64)]) -> Kernel {
    let texts = [("team", team.to_owned())];
    let text =
        unroll(include_str!("../../shaders/weight_norm.wgsl"), &element::WALK, &[("half", half)], &texts);
    Kernel::new(text, entry, constants)
}

/// The dispatches that write the norm of `weights` to `norm`, by way of the first scratch tensor, and how many sums that has.
fn norm(elements: usize, weights: Operand, norm: Operand, device: &Traits) -> (Vec<Dispatch>, usize) {
    let shares = elements.div_ceil(16).min(MOST_SHARES);
    let team = Team::single(device);
    // An output is bound as memory that may be written.
    let name = if matches!(weights, Operand::Output(_)) { "weights" } else { "known_weights" };
    let entry = if name == "weights" { "own_squares" } else { "squares" };
    let sizes = [("ELEMENTS", elements as f64), ("SHARES", shares as f64)];
    let own = [("SHARES", shares as f64), ("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)];
    let dispatches = vec![
        Dispatch {
            kernel: kernel(false, Team::ALONE, entry, &sizes),
            bindings: vec![(name, weights), ("shares", Operand::Scratch(0))],
            groups: element::lanes(shares),
        },
        Dispatch {
            kernel: kernel(false, team.kind, "root", &own),
            bindings: vec![("shares", Operand::Scratch(0)), ("norm", norm)],
            groups: [1, 1, 1],
        },
    ];
    (dispatches, shares)
}

impl Op for Measure {
    fn stem(&self) -> &'static str {
        "weight_norm"
    }

    fn name(&self) -> &'static str {
        "weight_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        outputs[0][0] = inputs[0].iter().map(|w| w * w).sum::<f64>().sqrt();
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        outputs[0][0] = squares(inputs[0]).sqrt() as f32;
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = shapes.input_elements(0);
        let (dispatches, shares) = norm(elements, Operand::Input(0), Operand::Output(0), device);
        Recipe { dispatches, scratch: vec![shares], iterations: elements.div_ceil(shares).max(shares) }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for Project {
    fn stem(&self) -> &'static str {
        "weight_norm"
    }

    fn name(&self) -> &'static str {
        "weight_norm.project"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let (weights, copies) = outputs.split_first_mut().expect("the weights");
        let norm = weights.iter().map(|w| w * w).sum::<f64>().sqrt();
        if inputs[1][2] == 0.0 || norm == 0.0 {
            return;
        }
        weights.iter_mut().for_each(|w| *w *= inputs[0][0] / norm);
        for copy in copies {
            copy.copy_from_slice(weights);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let [weights] = outputs else { panic!("the CPU keeps no copies in f16") };
        let norm = squares(weights).sqrt();
        if inputs[1][2] == 0.0 || norm == 0.0 {
            return;
        }
        let factor = (f64::from(inputs[0][0]) / norm) as f32;
        weights.par_chunks_mut(TASK).for_each(|weights| {
            simd(
                #[inline(always)]
                || weights.iter_mut().for_each(|w| *w *= factor),
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (elements, half) = (shapes.output_elements(0), shapes.outputs.len() > 1);
        let (mut dispatches, shares) = norm(elements, Operand::Output(0), Operand::Scratch(1), device);
        let mut bindings = vec![
            ("before", Operand::Input(0)),
            ("verdict", Operand::Input(1)),
            ("norm", Operand::Scratch(1)),
            ("weights", Operand::Output(0)),
        ];
        if half {
            bindings.push(("copied", Operand::Output(1)));
        }
        dispatches.push(Dispatch {
            kernel: kernel(half, Team::ALONE, "project", &[("ELEMENTS", elements as f64)]),
            bindings,
            groups: element::walk(elements),
        });
        Recipe { dispatches, scratch: vec![shares, 1], iterations: elements.div_ceil(shares).max(shares) }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.output_elements(0) as u64
    }
}

/// One element and many, with and without a copy; an open and a closed gate.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (elements, copied, open) in
        [(1, false, 1.0), (37, false, 1.0), (4096, true, 1.0), (70_000, false, 1.0), (300, true, 0.0)]
    {
        let label = format!("{elements} elements, a copy {copied}, open {open}");
        let mut case = CaseBuilder::new("weight_norm", label, seed);
        let before = case.input("before", &[elements], Fill::Normal(0.02));
        let verdict = case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]);
        let weights = case.observation("weights", &[elements], 0.0);
        let values = (0..elements).map(|_| case.draw(Fill::Normal(0.05))).collect();
        case.set(weights, values);
        let copy = copied.then(|| case.observation_of("copy", &[elements], DType::F16, 0.5));
        let norm = case.tape.weight_norm(before);
        case.tape.project(weights, copy, norm, verdict);
        // Sums of squares of one sign in two stages, a root and a division. A copy adds a rounding to 11 bits.
        cases.push(case.finish(&[], &[norm], if copied { 1.0 / 1024.0 } else { 3e-6 }));
    }
    cases
}
