//! `Ŵ = c·diag(s)·W` or `c·W·diag(s)`: a matrix whose rows or columns have learned lengths, which products read. nGPT (Loshchilov et al.
//! 2024, arXiv 2410.01131) so scales the logits and what its feed-forward networks open, whose weights are vectors of length one.
//!
//! Shapes: W and Ŵ `[r, n]`, W in f32, Ŵ in f32 or f16; s `[r]` or `[n]`; c is a constant. Adjoint: dW = c·s∘dŴ, and ds is c times the
//! sum of W∘dŴ over each row or column, in a fixed order.

mod cases;
mod host;

pub use cases::cases;

use super::team::Team;
use super::unit_clip::{Units, Walk};
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: W, s. Output: Ŵ.
#[derive(Clone, Debug)]
struct UnitScale {
    units: Units,
    scale: f32,
}

/// Its adjoint. Inputs: W, dŴ, s. Outputs: ds and dW, which it adds to where `accumulates` says so.
#[derive(Clone, Debug)]
struct UnitScaleBackward {
    units: Units,
    scale: f32,
    accumulates: [bool; 2],
}

impl Tape {
    /// Records Ŵ of `w` `[r, n]` in the element type `result`: its rows or columns times `scale`·`s`.
    pub fn unit_scale(
        &mut self,
        w: TensorId,
        s: TensorId,
        (units, scale): (Units, f32),
        result: DType,
    ) -> TensorId {
        let dims = self.shape(w).dims().to_vec();
        let count = Walk::of(units, self.shape(w).as_matrix()).units;
        assert_eq!(self.shape(s).dims(), [count], "unit_scale: {}", self.info(s).name);
        let scaled = self.intermediate_of("scaled units", &dims, result);
        // The sum over the rows of a batch is in f32, as that of a parameter.
        self.widen_gradient(scaled);
        self.record(UnitScale { units, scale }, &[w, s], &[scaled]);
        scaled
    }

    /// Records what the gradient of Ŵ adds to those of its parameters W and s, which come with whether they are added to.
    pub fn unit_scale_backward(
        &mut self,
        [w, gradient, s]: [TensorId; 3],
        (units, scale): (Units, f32),
        [(ds, adds_s), (dw, adds_w)]: [(TensorId, bool); 2],
    ) {
        let op = UnitScaleBackward { units, scale, accumulates: [adds_s, adds_w] };
        self.record(op, &[w, gradient, s], &[ds, dw]);
    }
}

/// The unit of an element.
fn unit_of(units: Units, columns: usize, i: usize) -> usize {
    match units {
        Units::Rows => i / columns,
        Units::Columns => i % columns,
        Units::Whole => 0,
    }
}

/// A kernel of `unit_scale.wgsl`. Lanes of a team sum a unit; without one, lanes walk over elements.
fn dispatch(
    (entry, team): (&'static str, Option<Team>),
    (units, extents): (Units, (usize, usize)),
    half: bool,
    own: &[(&'static str, f64)],
    bindings: &[(&'static str, Operand)],
) -> Dispatch {
    let walk = Walk::of(units, extents);
    let texts = [
        ("team", team.map_or(Team::ALONE, |team| team.kind).to_owned()),
        ("element", element::scalar(half)),
        ("narrow", element::narrow(half, 1)),
    ];
    let flags = [("half", half), ("rows", units == Units::Rows)];
    let text = unroll(include_str!("../../shaders/unit_scale.wgsl"), &element::WALK, &flags, &texts);
    let mut constants = own.to_vec();
    let groups = match team {
        Some(team) => {
            constants.extend([
                ("UNITS", walk.units as f64),
                ("LENGTH", walk.length as f64),
                ("UNIT_STEP", walk.unit_step as f64),
                ("STEP", walk.step as f64),
                ("TEAM", team.size as f64),
                ("TEAM_LANES", team.lanes as f64),
            ]);
            grid(team.workgroups(walk.units))
        }
        None => {
            let (rows, columns) = extents;
            constants.extend([("ELEMENTS", (rows * columns) as f64), ("COLUMNS", columns as f64)]);
            element::walk(rows * columns)
        }
    };
    Dispatch { kernel: Kernel::new(text, entry, &constants), bindings: bindings.to_vec(), groups }
}

impl Op for UnitScale {
    fn stem(&self) -> &'static str {
        "unit_scale"
    }

    fn name(&self) -> &'static str {
        "unit_scale"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (i, scaled) in outputs[0].iter_mut().enumerate() {
            *scaled = f64::from(self.scale) * inputs[1][unit_of(self.units, columns, i)] * inputs[0][i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [w, s] = inputs else { unreachable!("two inputs") };
        host::times((self.units, columns), self.scale, [w, s], outputs[0], false);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        shapes.assert_f32("unit_scale", &[0, 1]);
        let of = (self.units, shapes.inputs[0].as_matrix());
        let bindings = [("w", Operand::Input(0)), ("s", Operand::Input(1)), ("scaled", Operand::Output(0))];
        let own = [("SCALE", f64::from(self.scale))];
        let scaled = dispatch(("scale", None), of, shapes.half_output(0), &own, &bindings);
        Recipe { dispatches: vec![scaled], ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(gradient) = adjoint.gradient(0) else { return };
        let [w, s] = [0, 1].map(|i| adjoint.input(i));
        let outputs = [1, 0].map(|i| adjoint.begin_gradient(i));
        adjoint.tape.unit_scale_backward([w, gradient, s], (self.units, self.scale), outputs);
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for UnitScaleBackward {
    fn stem(&self) -> &'static str {
        "unit_scale"
    }

    fn name(&self) -> &'static str {
        "unit_scale.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let ([w, gradient, s], [ds, dw]) = (inputs, outputs) else {
            unreachable!("three inputs, two outputs")
        };
        let scale = f64::from(self.scale);
        let mut sums = vec![0.0; s.len()];
        for (i, (w, d)) in w.iter().zip(*gradient).enumerate() {
            let unit = unit_of(self.units, columns, i);
            sums[unit] += w * d;
            let before = if self.accumulates[1] { dw[i] } else { 0.0 };
            dw[i] = before + scale * s[unit] * d;
        }
        for (ds, sum) in ds.iter_mut().zip(sums) {
            *ds = if self.accumulates[0] { *ds } else { 0.0 } + scale * sum;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let ([w, gradient, s], [ds, dw]) = (inputs, outputs) else {
            unreachable!("three inputs, two outputs")
        };
        let of = (self.units, columns);
        host::times(of, self.scale, [gradient, s], dw, self.accumulates[1]);
        host::sums(of, self.scale, [w, gradient], ds, self.accumulates[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("unit_scale.backward", &[0, 1, 2]);
        let of = (self.units, shapes.inputs[0].as_matrix());
        let switch = |adds: bool| ("ACCUMULATE", f64::from(u8::from(adds)));
        let scale = ("SCALE", f64::from(self.scale));
        let (gradient, s) = (("gradient", Operand::Input(1)), ("s", Operand::Input(2)));
        let own = [scale, switch(self.accumulates[1])];
        let bindings = [gradient, s, ("dw", Operand::Output(1))];
        let of_matrix = dispatch(("backward", None), of, false, &own, &bindings);
        // Neighbouring lanes read neighbouring columns; lanes of a team neighbouring elements of a row.
        let team = if self.units == Units::Columns { Team::alone() } else { Team::single(device) };
        let own = [scale, switch(self.accumulates[0])];
        let bindings = [("w", Operand::Input(0)), gradient, ("ds", Operand::Output(0))];
        let of_units = dispatch(("sums", Some(team)), of, false, &own, &bindings);
        let length = Walk::of(self.units, of.1).length;
        Recipe {
            dispatches: vec![of_matrix, of_units],
            iterations: length.div_ceil(team.size),
            ..Recipe::default()
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        self.accumulates[output]
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}
