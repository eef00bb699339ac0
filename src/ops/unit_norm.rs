//! Every row or column of a matrix of weights gets length one: w ← w/‖w‖ (nGPT; Loshchilov et al. 2024, arXiv 2410.01131), after an
//! update or before a run's first step. Rows and columns of zeros stay as they are.
//!
//! Shapes: weights `[r, c]`, changed in place; their f16 copy `[r, c]`; verdict `[4]`. A closed verdict leaves everything unchanged.

use super::team::Team;
use super::unit_clip::{Units, Walk};
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, grid};
use crate::cores::functions::sum;
use crate::cores::simd;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op; see the module's documentation. Input: a verdict, or none. Outputs: weights and their f16 copy, if there is one.
#[derive(Clone, Debug)]
struct UnitNorm {
    units: Units,
}

impl Tape {
    /// Records that every one of the `units` of `weights` gets length one. A closed `verdict` leaves them as they are.
    pub fn unit_norm(
        &mut self,
        weights: TensorId,
        copy: Option<TensorId>,
        verdict: Option<TensorId>,
        units: Units,
    ) {
        let inputs: Vec<_> = verdict.into_iter().collect();
        let outputs: Vec<_> = [weights].into_iter().chain(copy).collect();
        self.record(UnitNorm { units }, &inputs, &outputs);
    }
}

impl Op for UnitNorm {
    fn stem(&self) -> &'static str {
        "unit_norm"
    }

    fn name(&self) -> &'static str {
        "unit_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let walk = Walk::of(self.units, io.output_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        if inputs.first().is_some_and(|verdict| verdict[2] == 0.0) {
            return;
        }
        let (weights, copies) = outputs.split_first_mut().expect("the weights");
        for unit in 0..walk.units {
            let length = walk.elements(unit).map(|i| weights[i] * weights[i]).sum::<f64>().sqrt();
            for i in walk.elements(unit).filter(|_| length > 0.0) {
                weights[i] /= length;
                copies.iter_mut().for_each(|copy| copy[i] = weights[i]);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.output_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        if inputs.first().is_some_and(|verdict| verdict[2] == 0.0) {
            return;
        }
        let [weights] = outputs else { panic!("the CPU keeps no copies in f16") };
        match self.units {
            Units::Columns => host_columns(columns, weights),
            Units::Rows => weights.par_chunks_exact_mut(columns).for_each(host_row),
            Units::Whole => host_row(weights),
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let walk = Walk::of(self.units, shapes.outputs[0].as_matrix());
        let (gated, half) = (!shapes.inputs.is_empty(), shapes.outputs.len() > 1);
        // Neighbouring lanes read neighbouring columns; lanes of a team neighbouring elements of a row.
        let team = if self.units == Units::Columns { Team::alone() } else { Team::single(device) };
        let flags = [("gated", gated), ("half", half)];
        let texts = [("team", team.kind.to_owned())];
        let text = unroll(include_str!("../../shaders/unit_norm.wgsl"), &[], &flags, &texts);
        let constants = [
            ("UNITS", walk.units as f64),
            ("LENGTH", walk.length as f64),
            ("UNIT_STEP", walk.unit_step as f64),
            ("STEP", walk.step as f64),
            ("TEAM", team.size as f64),
            ("LANES", team.lanes as f64),
        ];
        let mut bindings = vec![("weights", Operand::Output(0))];
        bindings.extend(gated.then_some(("verdict", Operand::Input(0))));
        bindings.extend(half.then_some(("copied", Operand::Output(1))));
        let groups = grid(team.workgroups(walk.units));
        Recipe::one(Kernel::new(text, "unit_norm", &constants), &bindings, groups)
            .with_iterations(2 * walk.length.div_ceil(team.size))
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.output_elements(0) as u64
    }
}

/// A row on the CPU.
fn host_row(weights: &mut [f32]) {
    simd(
        #[inline(always)]
        || {
            let length = sum([&*weights], |[w]| w * w).sqrt();
            if length > 0.0 {
                let factor = 1.0 / length;
                weights.iter_mut().for_each(|w| *w *= factor);
            }
        },
    );
}

/// The columns on the CPU: threads share them while they are summed, and rows while they are scaled.
fn host_columns(columns: usize, weights: &mut [f32]) {
    /// Columns that one task sums.
    const EACH: usize = 64;
    let mut factors = vec![0.0_f32; columns];
    factors.par_chunks_mut(EACH).enumerate().for_each(|(task, factors)| {
        let own = task * EACH..task * EACH + factors.len();
        let mut sums = [0.0_f64; EACH];
        simd(
            #[inline(always)]
            || {
                for row in weights.chunks_exact(columns) {
                    let squares = row[own.clone()].iter().map(|&w| f64::from(w) * f64::from(w));
                    sums.iter_mut().zip(squares).for_each(|(sum, square)| *sum += square);
                }
            },
        );
        for (factor, sum) in factors.iter_mut().zip(sums) {
            *factor = if sum > 0.0 { (1.0 / sum.sqrt()) as f32 } else { 1.0 };
        }
    });
    weights.par_chunks_exact_mut(columns).for_each(|row| {
        simd(
            #[inline(always)]
            || row.iter_mut().zip(&factors).for_each(|(w, factor)| *w *= factor),
        );
    });
}

/// Rows and columns around a team's width, one of them of zeros; with and without a copy; an open and a closed gate, and none.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (units, shape, copied, open) in [
        (Units::Columns, [1, 4], false, None),
        (Units::Columns, [37, 20], false, Some(1.0)),
        (Units::Columns, [64, 192], true, Some(1.0)),
        (Units::Columns, [300, 5], true, Some(0.0)),
        (Units::Rows, [131, 36], false, Some(1.0)),
        (Units::Rows, [7, 300], false, Some(0.0)),
        (Units::Rows, [97, 64], false, None),
        (Units::Rows, [40, 768], true, Some(1.0)),
    ] {
        let label = format!("{units:?} of {shape:?}, a copy {copied}, open {open:?}");
        let mut case = CaseBuilder::new("unit_norm", label, seed);
        let verdict = open.map(|open| case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]));
        let weights = case.observation("weights", &shape, 0.0);
        let mut values: Vec<f32> = (0..shape[0] * shape[1]).map(|_| case.draw(Fill::Normal(0.3))).collect();
        for i in Walk::of(units, (shape[0], shape[1])).elements(2) {
            values[i] = 0.0;
        }
        case.set(weights, values);
        let copy = copied.then(|| case.observation_of("copy", &shape, DType::F16, 0.5));
        case.tape.unit_norm(weights, copy, verdict, units);
        // Sums of up to 768 squares of one sign, a root and a division, which a driver may round by 2.5 units. A copy adds a rounding
        // to 11 bits.
        cases.push(case.finish(&[], &[], if copied { 1.0 / 1024.0 } else { 3e-6 }));
    }
    cases
}
