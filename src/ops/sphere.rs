//! A step on the unit sphere: `z = N(x + s∘(N(y) − x))` over rows of width d, with N(v) = v/√(‖v‖² + ε) and the learned strength
//! s = |c·a| of each column, where c is a constant: how nGPT (Loshchilov et al. 2024, arXiv 2410.01131) adds a branch y to the residual
//! stream x, whose rows have length one. ε is far below the squares of any trained row, and keeps rows of zeros from being divided by
//! zero.
//!
//! Shapes: x and z `[R, d]` in f32, y the same in f32 or f16, d a multiple of four; a `[d]`; for the adjoint r = 1/√(‖y‖² + ε) and q,
//! the same of the sum, `[R, 2]`. Adjoint, with ŷ = y·r and t = ⟨z, dz⟩: dm = q·(dz − t·z), dx = (1 − s)∘dm,
//! dy = r·(s∘dm − ŷ·⟨ŷ, s∘dm⟩), da = c·sign(a)∘Σ dm∘(ŷ − x) over rows, summed in two stages in a fixed order.

mod cases;
mod host;

pub use cases::cases;

use super::norm_rows::by_images;
use super::team::{Team, Vectors};
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// ε of a row's squared length. A row of length 0.001 gets a length within 5e-7 of one.
pub const EPSILON: f64 = 1e-12;

/// The op. Inputs: x, y, a. Outputs: z, (r, q).
#[derive(Clone, Debug)]
struct Sphere {
    /// c.
    scale: f32,
}

/// Its adjoint. Inputs: y, z, dz, a, (r, q). Outputs: dx, dy, t `[R]`.
#[derive(Clone, Debug)]
struct SphereBackward {
    scale: f32,
}

/// da. Inputs: x, y, z, dz, a, (r, q), t. Output: da, which it adds to with `accumulate`.
#[derive(Clone, Debug)]
struct SphereStrength {
    scale: f32,
    accumulate: bool,
}

impl Tape {
    /// Records z for `x` and `y` `[R, d]` and `a` `[d]`, with the strengths |`scale`·a|.
    pub fn sphere(&mut self, x: TensorId, y: TensorId, a: TensorId, scale: f32) -> TensorId {
        let (rows, width) = self.shape(x).as_matrix();
        assert_eq!(self.shape(x), self.shape(y), "sphere: {} and {}", self.info(x).name, self.info(y).name);
        assert_eq!(self.shape(a).dims(), [width], "sphere: {} for rows of {width}", self.info(a).name);
        assert!(width.is_multiple_of(4), "sphere: rows of {width}");
        let z = self.intermediate("sphere", &[rows, width]);
        let lengths = self.intermediate("sphere.lengths", &[rows, 2]);
        self.record(Sphere { scale }, &[x, y, a], &[z, lengths]);
        z
    }

    /// Records rows of length one: N of the last extent of `x`, which is f32.
    pub fn unit_rows(&mut self, x: TensorId) -> TensorId {
        let (_, width) = self.shape(x).as_matrix();
        // N(x) = RMSNorm with the gain 1/√d, whose ε counts for the mean square.
        let gain =
            self.constant(&format!("1/√{width}"), &[width], vec![(width as f32).sqrt().recip(); width]);
        self.rms_norm(x, gain, (EPSILON / width as f64) as f32, DType::F32)
    }
}

/// The strength of a column.
fn strength(scale: f32, a: f64) -> f64 {
    (f64::from(scale) * a).abs()
}

/// A kernel of `sphere.wgsl` in which a team of lanes has one row, or lanes work alone.
fn dispatch(
    (entry, team): (&'static str, Option<Team>),
    ((rows, width), half): ((usize, usize), bool),
    device: &Traits,
    own: &[(&'static str, f64)],
    bindings: &[Binding],
) -> Dispatch {
    let images = by_images((rows, width), half, device);
    let as_image = |&(name, operand): &Binding| match operand {
        Operand::Input(i) if images && ["x", "y", "known_z", "dz"].contains(&name) => {
            (name, Operand::InputImage(i))
        }
        _ => (name, operand),
    };
    let texts = [
        ("team", team.map_or(Team::ALONE, |team| team.kind).to_owned()),
        ("element", element::scalar(half)),
        ("narrow", element::narrow(half, 4)),
        ("texel", element::texel(half)),
    ];
    let flags = [("images", images), ("half", half)];
    let numbers = [("lanes", element::LANES)];
    let text = unroll(include_str!("../../shaders/sphere.wgsl"), &numbers, &flags, &texts);
    let mut constants = vec![("WIDTH", (width / 4) as f64)];
    constants.extend(own);
    let mut groups = [1, 1, 1];
    if let Some(team) = team {
        constants.extend([("ROWS", rows as f64), ("LANES", team.lanes as f64), ("TEAM", team.size as f64)]);
        groups = grid(team.workgroups(rows));
    }
    let bindings = bindings.iter().map(as_image).collect();
    Dispatch { kernel: Kernel::new(text, entry, &constants), bindings, groups }
}

/// A team's iterations.
fn iterations(width: usize, team: Team) -> usize {
    3 * Vectors::of(width).width.div_ceil(team.size)
}

impl Op for Sphere {
    fn stem(&self) -> &'static str {
        "sphere"
    }

    fn name(&self) -> &'static str {
        "sphere"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let ([x, y, a], [z, lengths]) = (inputs, outputs) else { unreachable!("three inputs, two outputs") };
        let inverse = |row: &[f64]| 1.0 / (row.iter().map(|v| v * v).sum::<f64>() + EPSILON).sqrt();
        for (i, z) in z.chunks_exact_mut(width).enumerate() {
            let own = i * width..(i + 1) * width;
            let (x, y) = (&x[own.clone()], &y[own]);
            let r = inverse(y);
            for (c, z) in z.iter_mut().enumerate() {
                *z = x[c] + strength(self.scale, a[c]) * (y[c] * r - x[c]);
            }
            let q = inverse(z);
            z.iter_mut().for_each(|z| *z *= q);
            lengths[2 * i..2 * i + 2].copy_from_slice(&[r, q]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(width, self.scale, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("sphere", &[0, 2]);
        let (extents, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(1));
        let team = Team::of(device);
        let bindings = [
            ("x", Operand::Input(0)),
            ("y", Operand::Input(1)),
            ("a", Operand::Input(2)),
            ("z", Operand::Output(0)),
            ("lengths", Operand::Output(1)),
        ];
        let own = [("SCALE", f64::from(self.scale)), ("EPSILON", EPSILON)];
        let rows = dispatch(("sphere", Some(team)), (extents, half), device, &own, &bindings);
        Recipe { dispatches: vec![rows], iterations: iterations(extents.1, team), ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dz) = adjoint.gradient(0) else { return };
        let scale = self.scale;
        let [x, y, a] = [0, 1, 2].map(|i| adjoint.input(i));
        let [z, lengths] = [0, 1].map(|i| adjoint.output(i));
        let [dx, dy] = [0, 1].map(|i| adjoint.fresh_like(i));
        let (rows, _) = adjoint.tape.shape(x).as_matrix();
        let turns = adjoint.tape.intermediate("sphere.turns", &[rows]);
        adjoint.tape.record(SphereBackward { scale }, &[y, z, dz, a, lengths], &[dx, dy, turns]);
        if adjoint.wants(2) {
            let (da, accumulate) = adjoint.begin_gradient(2);
            let inputs = [x, y, z, dz, a, lengths, turns];
            adjoint.tape.record(SphereStrength { scale, accumulate }, &inputs, &[da]);
        }
        adjoint.contribute(1, dy);
        adjoint.contribute(0, dx);
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        9 * shapes.input_elements(0) as u64
    }
}

impl Op for SphereBackward {
    fn stem(&self) -> &'static str {
        "sphere"
    }

    fn name(&self) -> &'static str {
        "sphere.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [y, z, dz, a, lengths] = inputs else { unreachable!("five inputs") };
        let [dx, dy, turns] = outputs else { unreachable!("three outputs") };
        for (i, turn) in turns.iter_mut().enumerate() {
            let own = i * width..(i + 1) * width;
            let (y, z, dz) = (&y[own.clone()], &z[own.clone()], &dz[own.clone()]);
            let [r, q] = [lengths[2 * i], lengths[2 * i + 1]];
            *turn = z.iter().zip(dz).map(|(z, d)| z * d).sum();
            let dm: Vec<f64> = z.iter().zip(dz).map(|(z, d)| q * (d - *turn * z)).collect();
            let s = |c: usize| strength(self.scale, a[c]);
            let along: f64 = (0..width).map(|c| s(c) * dm[c] * y[c] * r).sum();
            for (c, (dx, dy)) in dx[own.clone()].iter_mut().zip(&mut dy[own]).enumerate() {
                *dx = (1.0 - s(c)) * dm[c];
                *dy = r * (s(c) * dm[c] - y[c] * r * along);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward(width, self.scale, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (extents, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(0));
        let team = Team::of(device);
        let bindings = [
            ("y", Operand::Input(0)),
            ("known_z", Operand::Input(1)),
            ("dz", Operand::Input(2)),
            ("a", Operand::Input(3)),
            ("known_lengths", Operand::Input(4)),
            ("dx", Operand::Output(0)),
            ("dy", Operand::Output(1)),
            ("turns", Operand::Output(2)),
        ];
        let own = [("SCALE", f64::from(self.scale))];
        let rows = dispatch(("sphere_backward", Some(team)), (extents, half), device, &own, &bindings);
        Recipe { dispatches: vec![rows], iterations: iterations(extents.1, team), ..Recipe::default() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        12 * shapes.input_elements(0) as u64
    }
}

impl Op for SphereStrength {
    fn stem(&self) -> &'static str {
        "sphere"
    }

    fn name(&self) -> &'static str {
        "sphere.strength"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, y, z, dz, a, lengths, turns] = inputs else { unreachable!("seven inputs") };
        let mut sums = vec![0.0; width];
        for i in 0..x.len() {
            let (row, column) = (i / width, i % width);
            let [r, q] = [lengths[2 * row], lengths[2 * row + 1]];
            sums[column] += q * (dz[i] - turns[row] * z[i]) * (y[i] * r - x[i]);
        }
        for ((da, sum), a) in outputs[0].iter_mut().zip(sums).zip(*a) {
            let sign = if *a == 0.0 { 0.0 } else { a.signum() };
            let own = f64::from(self.scale).abs() * sign * sum;
            *da = if self.accumulate { *da + own } else { own };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::strength(width, self.scale, self.accumulate, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (extents, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(1));
        let (rows, width) = extents;
        // At most 128 blocks of rows, which one lane then adds up.
        let each = rows.div_ceil(128).max(16);
        let (blocks, vectors) = (rows.div_ceil(each), width / 4);
        let own = [("ROWS", rows as f64), ("ROWS_EACH", each as f64), ("BLOCKS", blocks as f64)];
        let bindings = [
            ("x", Operand::Input(0)),
            ("y", Operand::Input(1)),
            ("known_z", Operand::Input(2)),
            ("dz", Operand::Input(3)),
            ("known_lengths", Operand::Input(5)),
            ("known_turns", Operand::Input(6)),
            ("parts", Operand::Scratch(0)),
        ];
        let mut shares = dispatch(("strength_parts", None), (extents, half), device, &own, &bindings);
        shares.groups = element::lanes(blocks * vectors);
        let own = [
            ("BLOCKS", blocks as f64),
            ("SCALE", f64::from(self.scale)),
            ("ACCUMULATE", f64::from(u8::from(self.accumulate))),
        ];
        let bindings = [("parts", Operand::Scratch(0)), ("a", Operand::Input(4)), ("da", Operand::Output(0))];
        let mut totals = dispatch(("strength_totals", None), (extents, half), device, &own, &bindings);
        totals.groups = element::lanes(vectors);
        Recipe {
            dispatches: vec![shares, totals],
            scratch: vec![blocks * width],
            iterations: each.max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        7 * shapes.input_elements(0) as u64
    }
}
