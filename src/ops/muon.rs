//! The parts of Muon that no other op computes (Jordan et al. 2024, <https://kellerjordan.github.io/posts/muon>): a matrix
//! moves along the nearest orthogonal matrix to its momentum. The products in between are `ops/matmul.rs`.
//!
//! For a matrix W `[r, c]` with the clipped gradient g, whose columns are those of P matrices side by side (query, key and
//! value), each `[r, c/P]` on its own:
//! - momentum: M ← μM + g, U = g + μM (Nesterov's);
//! - unit: X = U/(‖U‖ + 1e-7), so that no singular value exceeds one;
//! - five steps of Newton and Schulz, X ← X·p(XᵀX) or p(XXᵀ)·X, whichever is smaller, with p(A) = 3.4445·I − 4.7750·A +
//!   2.0315·A²: *mix* is p for A and A². They move every singular value into about [0.7, 1.2] and leave the singular vectors;
//! - neurons (NorMuon, arXiv 2510.05491): the mean square of each column of X, of one neuron, joins a running mean v ←
//!   β₂v + (1−β₂)·mean, by whose root the column is divided; then X gets its norm back;
//! - apply: W ← W − ρηλ·W − ρη·s·X, with the scale s of [`Scale`] and the ratio ρ of Muon's rate to that of the others.
//!
//! All is f32. U and X hold the P matrices one after the other, each padded to 128 elements, so that each is a view. A closed
//! verdict leaves W, M and v unchanged.

mod cases;
mod host;
mod reference;
mod terms;

pub use cases::cases;
pub use terms::{Constants, Operands, Parts, QUINTIC, STEPS, Scale};

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::tape::{Io, Tape, TensorId};

/// M and U from g. Inputs: g, verdict. Outputs: M, U.
#[derive(Clone, Debug)]
struct Momentum {
    parts: Parts,
    momentum: f32,
}

/// X from U, each matrix of norm one.
#[derive(Clone, Debug)]
struct Unit {
    parts: Parts,
}

/// p(A). Inputs: A, A². Output: p.
#[derive(Clone, Debug)]
struct Mix;

/// NorMuon's scaling. Inputs: X, verdict. Outputs: v, of which matrix `part` has its columns, and X scaled.
#[derive(Clone, Debug)]
struct Neurons {
    part: usize,
    beta2: f32,
}

/// The update. Inputs: X of each matrix, then hyper and verdict. Outputs: W and its f16 copy, if there is one.
#[derive(Clone, Debug)]
struct Apply {
    parts: Parts,
    /// ρ·s.
    factor: f32,
    /// ρ, or 0 without decay.
    decay: f32,
}

impl Tape {
    /// Records Muon's update of one parameter of `count` matrices side by side. Tensors in between have the scope's name.
    pub fn muon(&mut self, operands: Operands, count: usize, constants: Constants) {
        let (rows, columns) = self.shape(operands.parameter).as_matrix();
        let parts = Parts { rows, columns: columns / count, count };
        let momentum = self.intermediate("momentum", &[count * parts.padded()]);
        let op = Momentum { parts, momentum: constants.momentum as f32 };
        let Operands { gradient, verdict, hyper, .. } = operands;
        self.record(op, &[gradient, verdict], &[operands.momentum, momentum]);
        let unit = self.intermediate("unit", &[count * parts.padded()]);
        self.record(Unit { parts }, &[momentum], &[unit]);
        let mut inputs = Vec::new();
        for part in 0..count {
            let x = self.view(unit, part * parts.padded(), &[rows, parts.columns]);
            let mut x = self.orthogonal(x);
            if let (Some(beta2), Some(v)) = (constants.neurons, operands.neurons) {
                let scaled = self.intermediate("neurons", &[rows, parts.columns]);
                self.record(Neurons { part, beta2: beta2 as f32 }, &[x, verdict], &[v, scaled]);
                x = scaled;
            }
            inputs.push(x);
        }
        inputs.extend([hyper, verdict]);
        let outputs: Vec<_> = [operands.parameter].into_iter().chain(operands.copy).collect();
        let factor = (constants.ratio * constants.scale.of(rows, parts.columns)) as f32;
        let decay = if constants.decays { constants.ratio as f32 } else { 0.0 };
        self.record(Apply { parts, factor, decay }, &inputs, &outputs);
    }

    /// Records the steps of Newton and Schulz for `x`, whose singular values are at most one.
    pub fn orthogonal(&mut self, mut x: TensorId) -> TensorId {
        let (rows, columns) = self.shape(x).as_matrix();
        for _ in 0..STEPS {
            let wide = rows <= columns;
            let a = if wide { self.matmul_nt(x, x) } else { self.matmul_tn(x, x) };
            let square = self.linear(a, a, None);
            let p = self.intermediate("mix", &[rows.min(columns); 2]);
            self.record(Mix, &[a, square], &[p]);
            x = if wide { self.linear(p, x, None) } else { self.linear(x, p, None) };
        }
        x
    }
}

/// A kernel of `muon.wgsl` for parameters of `parts` matrices.
fn kernel(
    parts: usize,
    half: bool,
    team: &str,
    entry: &'static str,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let numbers = [element::WALK[0], element::WALK[1], ("parts", parts)];
    let texts = [("team", team.to_owned())];
    let text = unroll(include_str!("../../shaders/muon.wgsl"), &numbers, &[("half", half)], &texts);
    Kernel::new(text, entry, constants)
}

impl Op for Momentum {
    fn stem(&self) -> &'static str {
        "muon"
    }

    fn name(&self) -> &'static str {
        "muon.momentum"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::momentum(self.parts, self.momentum, io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::momentum(self, io);
    }

    fn recipe(&self, _shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let mut constants = self.parts.constants();
        constants.extend([("PADDED", self.parts.padded() as f64), ("MOMENTUM", f64::from(self.momentum))]);
        let kernel = kernel(self.parts.count, false, Team::ALONE, "momentum", &constants);
        let bindings = [
            ("gradient", Operand::Input(0)),
            ("verdict", Operand::Input(1)),
            ("moment", Operand::Output(0)),
            ("u", Operand::Output(1)),
        ];
        Recipe::one(kernel, &bindings, element::walk(self.parts.count * self.parts.padded()))
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 0
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        5 * shapes.input_elements(0) as u64
    }
}

impl Op for Unit {
    fn stem(&self) -> &'static str {
        "muon"
    }

    fn name(&self) -> &'static str {
        "muon.unit"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::unit(self.parts, io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::unit(self.parts, io);
    }

    fn recipe(&self, _shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        /// The most partial sums of one matrix; one team adds them up.
        const MOST_SHARES: usize = 4_096;
        let parts = self.parts;
        let shares = parts.elements().div_ceil(16).min(MOST_SHARES);
        let team = Team::single(device);
        let mut constants = vec![("ELEMENTS", parts.elements() as f64)];
        let sizes = [("PADDED", parts.padded() as f64), ("SHARES", shares as f64)];
        constants.extend(sizes);
        let squares = Dispatch {
            kernel: kernel(parts.count, false, Team::ALONE, "squares", &constants),
            bindings: vec![("known_u", Operand::Input(0)), ("shares", Operand::Scratch(0))],
            groups: element::lanes(parts.count * shares),
        };
        let own = [("SHARES", shares as f64), ("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)];
        let norms = Dispatch {
            kernel: kernel(parts.count, false, team.kind, "norms", &own),
            bindings: vec![("shares", Operand::Scratch(0)), ("norm", Operand::Scratch(1))],
            groups: [parts.count as u32, 1, 1],
        };
        let own = [("ELEMENTS", parts.elements() as f64), ("PADDED", parts.padded() as f64)];
        let unit = Dispatch {
            kernel: kernel(parts.count, false, Team::ALONE, "unit", &own),
            bindings: vec![
                ("known_u", Operand::Input(0)),
                ("norm", Operand::Scratch(1)),
                ("x", Operand::Output(0)),
            ],
            groups: element::walk(parts.count * parts.padded()),
        };
        Recipe {
            dispatches: vec![squares, norms, unit],
            scratch: vec![parts.count * shares, parts.count],
            iterations: parts.elements().div_ceil(shares).max(shares),
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl Op for Mix {
    fn stem(&self) -> &'static str {
        "muon"
    }

    fn name(&self) -> &'static str {
        "muon.mix"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::mix(io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::mix(io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let (side, _) = shapes.inputs[0].as_matrix();
        let kernel = kernel(1, false, Team::ALONE, "polynomial", &[("COLUMNS", side as f64)]);
        let bindings = [("a", Operand::Input(0)), ("square", Operand::Input(1)), ("p", Operand::Output(0))];
        Recipe::one(kernel, &bindings, element::walk(side * side))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl Op for Neurons {
    fn stem(&self) -> &'static str {
        "muon"
    }

    fn name(&self) -> &'static str {
        "muon.neurons"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::neurons(self.part, self.beta2, io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::neurons(self, io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let team = Team::single(device);
        let width = ("COLUMNS", columns as f64);
        let own = [
            width,
            ("ROWS", rows as f64),
            ("FIRST", (self.part * columns) as f64),
            ("BETA2", f64::from(self.beta2)),
        ];
        let means = Dispatch {
            kernel: kernel(1, false, Team::ALONE, "neuron_means", &own),
            bindings: vec![
                ("x_0", Operand::Input(0)),
                ("verdict", Operand::Input(1)),
                ("second", Operand::Output(0)),
                ("means", Operand::Scratch(0)),
            ],
            groups: element::lanes(columns),
        };
        let own = [width, ("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)];
        let ratio = Dispatch {
            kernel: kernel(1, false, team.kind, "neuron_ratio", &own),
            bindings: vec![("means", Operand::Scratch(0)), ("norm", Operand::Scratch(1))],
            groups: [1, 1, 1],
        };
        let scaled = Dispatch {
            kernel: kernel(
                1,
                false,
                Team::ALONE,
                "neuron_scale",
                &[width, ("ELEMENTS", (rows * columns) as f64)],
            ),
            bindings: vec![
                ("x_0", Operand::Input(0)),
                ("means", Operand::Scratch(0)),
                ("norm", Operand::Scratch(1)),
                ("x", Operand::Output(1)),
            ],
            groups: element::walk(rows * columns),
        };
        Recipe {
            dispatches: vec![means, ratio, scaled],
            scratch: vec![2 * columns, 1],
            iterations: rows.max(columns),
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 0
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}

impl Op for Apply {
    fn stem(&self) -> &'static str {
        "muon"
    }

    fn name(&self) -> &'static str {
        "muon.apply"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::apply(self.parts, [self.factor, self.decay], io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::apply(self, io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        const NAMES: [&str; 3] = ["x_0", "x_1", "x_2"];
        let half = shapes.outputs.len() > 1;
        let mut constants = self.parts.constants();
        constants.extend([("FACTOR", f64::from(self.factor)), ("DECAY", f64::from(self.decay))]);
        let kernel = kernel(self.parts.count, half, Team::ALONE, "apply", &constants);
        let parts = (0..self.parts.count).map(|part| (NAMES[part], Operand::Input(part)));
        let mut bindings: Vec<_> = parts.collect();
        bindings.extend([
            ("hyper", Operand::Input(self.parts.count)),
            ("verdict", Operand::Input(self.parts.count + 1)),
            ("w", Operand::Output(0)),
        ]);
        if half {
            bindings.push(("copied", Operand::Output(1)));
        }
        Recipe::one(kernel, &bindings, element::walk(self.parts.count * self.parts.elements()))
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.output_elements(0) as u64
    }
}
