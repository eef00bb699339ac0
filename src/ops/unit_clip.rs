//! Adaptive gradient clipping (Brock et al. 2021, arXiv 2102.06171): the gradient g of a unit with the weights w is scaled down to
//! ‖g‖ ≤ λ·max(‖w‖, 1e-3). A unit is a column of a matrix of a linear map, which are the weights of one output, a row of a
//! table, or a whole vector.
//!
//! Shapes: gradient and weights `[r, c]`, verdict `[4]`, whose second number multiplies the gradient afterwards; it counts in
//! ‖g‖. The gradient is changed in place. A closed verdict leaves it unchanged.

use super::team::Team;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, grid};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};

/// What of a tensor is one unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Units {
    Columns,
    Rows,
    Whole,
}

/// The op; see the module's documentation. Inputs: weights, verdict. Output: gradient.
#[derive(Clone, Debug)]
struct UnitClip {
    units: Units,
    /// λ.
    most: f32,
}

/// ε of the paper: weights that start at zero may move.
const LEAST_NORM: f64 = 1e-3;

impl Tape {
    /// Records the clipping of one parameter's `gradient` by its `weights`, both of one shape, to the ratio `most`.
    pub fn unit_clip(
        &mut self,
        gradient: TensorId,
        weights: TensorId,
        verdict: TensorId,
        units: Units,
        most: f64,
    ) {
        assert_eq!(self.shape(gradient), self.shape(weights), "unit_clip: {}", self.info(weights).name);
        self.record(UnitClip { units, most: most as f32 }, &[weights, verdict], &[gradient]);
    }
}

/// Units, elements of a unit, elements from one unit to the next, and elements from one element of a unit to the next.
#[derive(Clone, Copy)]
pub(super) struct Walk {
    pub units: usize,
    pub length: usize,
    pub unit_step: usize,
    pub step: usize,
}

impl Walk {
    pub fn of(units: Units, (rows, columns): (usize, usize)) -> Self {
        match units {
            Units::Columns => Self { units: columns, length: rows, unit_step: 1, step: columns },
            Units::Rows => Self { units: rows, length: columns, unit_step: columns, step: 1 },
            Units::Whole => Self { units: 1, length: rows * columns, unit_step: 0, step: 1 },
        }
    }

    /// The elements of a unit.
    pub fn elements(self, unit: usize) -> impl Iterator<Item = usize> + Clone {
        (0..self.length).map(move |k| unit * self.unit_step + k * self.step)
    }
}

/// The factor of a gradient, from the sums of squares of gradient and weights.
fn factor(clip: f64, most: f64, gradient: f64, weights: f64) -> f64 {
    let (norm, allowed) = (clip * gradient.sqrt(), most * weights.sqrt().max(LEAST_NORM));
    if norm > allowed { allowed / norm } else { 1.0 }
}

impl Op for UnitClip {
    fn stem(&self) -> &'static str {
        "unit_clip"
    }

    fn name(&self) -> &'static str {
        "unit_clip"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let walk = Walk::of(self.units, io.input_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        let (weights, verdict, gradient) = (inputs[0], inputs[1], &mut outputs[0]);
        for unit in (0..walk.units).filter(|_| verdict[2] != 0.0) {
            let elements = walk.elements(unit);
            let square = |of: &[f64]| elements.clone().map(|i| of[i] * of[i]).sum::<f64>();
            let factor = factor(verdict[1], f64::from(self.most), square(gradient), square(weights));
            elements.for_each(|i| gradient[i] *= factor);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let walk = Walk::of(self.units, io.input_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        let (weights, verdict, gradient) = (inputs[0], inputs[1], &mut outputs[0]);
        if verdict[2] == 0.0 {
            return;
        }
        // Line by line, whatever a unit is: the sums of columns are vectors.
        let width = if self.units == Units::Columns { walk.units } else { walk.length };
        let mut sums = vec![[0.0_f64; 2]; walk.units];
        for (row, (gradient, weights)) in gradient.chunks(width).zip(weights.chunks(width)).enumerate() {
            for (i, (g, w)) in gradient.iter().zip(weights).enumerate() {
                let sum = &mut sums[if self.units == Units::Columns { i } else { row }];
                sum[0] += f64::from(*g) * f64::from(*g);
                sum[1] += f64::from(*w) * f64::from(*w);
            }
        }
        let (clip, most) = (f64::from(verdict[1]), f64::from(self.most));
        let factors: Vec<f32> =
            sums.iter().map(|&[gradient, weights]| factor(clip, most, gradient, weights) as f32).collect();
        for (row, gradient) in gradient.chunks_mut(width).enumerate() {
            for (i, g) in gradient.iter_mut().enumerate() {
                *g *= factors[if self.units == Units::Columns { i } else { row }];
            }
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let walk = Walk::of(self.units, shapes.inputs[0].as_matrix());
        // Neighbouring lanes read neighbouring columns; lanes of a team neighbouring elements of a row.
        let alone = Team::alone();
        let team = if self.units == Units::Columns { alone } else { Team::single(device) };
        let text =
            unroll(include_str!("../../shaders/unit_clip.wgsl"), &[], &[], &[("team", team.kind.to_owned())]);
        let constants = [
            ("UNITS", walk.units as f64),
            ("LENGTH", walk.length as f64),
            ("UNIT_STEP", walk.unit_step as f64),
            ("STEP", walk.step as f64),
            ("MOST", f64::from(self.most)),
            ("TEAM", team.size as f64),
            ("LANES", team.lanes as f64),
        ];
        let bindings = [
            ("weights", Operand::Input(0)),
            ("verdict", Operand::Input(1)),
            ("gradient", Operand::Output(0)),
        ];
        let groups = grid(team.workgroups(walk.units));
        Recipe::one(Kernel::new(text, "unit_clip", &constants), &bindings, groups)
            .with_iterations(2 * walk.length.div_ceil(team.size))
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        5 * shapes.input_elements(0) as u64
    }
}

/// Columns, rows and whole vectors, some clipped and some not, weights of zero; an open and a closed gate.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (units, shape, spread, zero, open) in [
        (Units::Columns, [1, 4], 1.0, false, 1.0),
        (Units::Columns, [37, 20], 0.3, false, 1.0),
        (Units::Columns, [64, 192], 1e-3, false, 1.0),
        (Units::Rows, [131, 36], 0.3, false, 1.0),
        (Units::Rows, [7, 300], 0.3, false, 0.0),
        (Units::Whole, [1, 64], 0.3, true, 1.0),
        (Units::Whole, [1, 300], 1e-4, true, 1.0),
    ] {
        let label = format!("{units:?} of {shape:?}, g ~ {spread:e}, open {open}, weights of zero {zero}");
        let mut case = CaseBuilder::new("unit_clip", label, seed);
        let weights = case.input("weights", &shape, Fill::Normal(if zero { 0.0 } else { 1.0 }));
        let verdict = case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]);
        let gradient = case.observation("gradient", &shape, 0.0);
        let values = (0..shape[0] * shape[1]).map(|_| case.draw(Fill::Normal(spread))).collect();
        case.set(gradient, values);
        case.tape.unit_clip(gradient, weights, verdict, units, 0.15);
        // Sums of up to 300 squares of one sign, two roots and a division, which a driver may round by 2.5 units.
        cases.push(case.finish(&[], &[], 3e-6));
    }
    cases
}
