//! `Ŵ = (γ/σ(W))·W` with a learned γ: σReparam (Zhai et al. 2023, arXiv 2303.06296), which divides a matrix of a linear map by its
//! largest singular value and gives it one number as its own.
//!
//! Shapes: W and Ŵ `[r, P·n]`, the matrices of P linear maps side by side (query, key and value), each with its own γ and σ; γ `[P]`;
//! u `[P, r]`, one left singular vector for each matrix. W, γ and u are f32, Ŵ is f32 or f16.
//!
//! σ = ‖uᵀW‖, which is the largest singular value where u belongs to it. u is a state: one power iteration after each update of W,
//! u ← W·Wᵀ·u divided by its length, as in the paper's code. With v = Wᵀu/σ, the derivative of σ by W is u·vᵀ, u being held. Adjoint,
//! with c = ⟨dŴ, W⟩/σ for each matrix: dγ += c, dW = (γ/σ)·(dŴ − c·u·vᵀ). All sums are in a fixed order.

mod cases;
mod host;
mod reference;
mod sizes;

pub use cases::cases;

use super::team::Team;
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, axis, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use sizes::Sizes;

/// What the op says of each matrix beside Ŵ: σ, γ/σ, γ, each `[P]`.
pub const NUMBERS: usize = 3;

/// The op. Inputs: W, γ, u. Outputs: Ŵ, v `[P·n]`, numbers `[3, P]`.
#[derive(Clone, Debug)]
struct Normalize;

/// Its adjoint. Inputs: W, dŴ, u, v, numbers. Outputs: dγ and dW; with `accumulate`, it adds to them.
#[derive(Clone, Debug)]
struct NormalizeBackward {
    accumulate: bool,
}

/// One power iteration. Inputs: W, u. Output: the next u.
#[derive(Clone, Debug)]
struct Iterate;

/// u becomes the next one. Inputs: the next u, and a verdict that may forbid it. Output: u.
#[derive(Clone, Debug)]
struct Keep;

impl Tape {
    /// Records Ŵ in the element type `result`, and the numbers `[3, P]` of its matrices: σ, γ/σ, γ. `w` is `[r, P·n]`, `gamma` `[P]`,
    /// `u` `[P, r]`.
    pub fn spectral_norm(
        &mut self,
        w: TensorId,
        gamma: TensorId,
        u: TensorId,
        result: DType,
    ) -> (TensorId, TensorId) {
        let dims = self.shape(w).dims().to_vec();
        let sizes = Sizes::of(self.shape(w), self.shape(gamma).elements());
        assert_eq!(self.shape(u).dims(), [sizes.parts, sizes.rows], "spectral_norm: {}", self.info(u).name);
        let scaled = self.intermediate_of("spectral norm", &dims, result);
        // The sum over the rows of a batch is in f32, as that of a parameter.
        self.widen_gradient(scaled);
        let v = self.intermediate("right singular vector", &[sizes.columns]);
        let numbers = self.intermediate("singular value", &[NUMBERS, sizes.parts]);
        self.record(Normalize, &[w, gamma, u], &[scaled, v, numbers]);
        (scaled, numbers)
    }

    /// Records one power iteration of the state `u` `[P, r]` for `w` `[r, P·n]`. A closed verdict leaves `u` unchanged.
    pub fn power_iteration(&mut self, w: TensorId, u: TensorId, verdict: Option<TensorId>) {
        let dims = self.shape(u).dims().to_vec();
        let next = self.intermediate("left singular vector", &dims);
        self.record(Iterate, &[w, u], &[next]);
        let inputs: Vec<_> = [next].into_iter().chain(verdict).collect();
        self.record(Keep, &inputs, &[u]);
    }
}

/// Rows of a block: one lane sums a block of a column, then another lane sums the blocks.
const ROWS_EACH: usize = 64;

/// The constants and kernels of one op on a device.
struct Kernels {
    sizes: Sizes,
    team: Team,
    half: bool,
}

impl Kernels {
    fn of(sizes: Sizes, half: bool, device: &Traits) -> Self {
        Self { sizes, team: Team::single(device), half }
    }

    fn blocks(&self) -> usize {
        self.sizes.rows.div_ceil(ROWS_EACH)
    }

    /// A kernel with those of the constants that it has. Kernels that sum over lanes name a team.
    fn dispatch(
        &self,
        entry: &'static str,
        (team, names): (bool, &[&str]),
        more: &[(&'static str, f64)],
        bindings: &[Binding],
        groups: [u32; 3],
    ) -> Dispatch {
        let Sizes { rows, columns, parts } = self.sizes;
        let all = [
            ("ROWS", rows as f64),
            ("COLUMNS", columns as f64),
            ("PARTS", parts as f64),
            ("WIDTH", self.sizes.width() as f64),
            ("ROWS_EACH", ROWS_EACH as f64),
            ("BLOCKS", self.blocks() as f64),
            ("TEAM", self.team.size as f64),
            ("TEAM_LANES", self.team.lanes as f64),
        ];
        let of_team = ["TEAM", "TEAM_LANES"];
        let wanted = |name: &str| names.contains(&name) || (team && of_team.contains(&name));
        let mut constants: Vec<_> = all.into_iter().filter(|(name, _)| wanted(name)).collect();
        constants.extend(more);
        let kind = if team { self.team.kind } else { Team::ALONE };
        let texts = [("team", kind.to_owned()), ("element", element::scalar(self.half))];
        let texts = [&texts[..], &[("narrow", element::narrow(self.half, 1))]].concat();
        let shader = include_str!("../../shaders/spectral_norm.wgsl");
        let text = unroll(shader, &element::WALK, &[("half", self.half)], &texts);
        Dispatch { kernel: Kernel::new(text, entry, &constants), bindings: bindings.to_vec(), groups }
    }

    /// Sums over the rows of each column, by way of `shares`: `entry` makes those of blocks of rows.
    fn column_sums(
        &self,
        entry: &'static str,
        bindings: &[Binding],
        shares: Operand,
        sums: Operand,
    ) -> [Dispatch; 2] {
        let columns = self.sizes.columns.div_ceil(element::LANES);
        let names: &[&str] = match entry {
            "project" => &["ROWS", "COLUMNS", "WIDTH", "ROWS_EACH"],
            _ => &["ROWS", "COLUMNS", "ROWS_EACH"],
        };
        let bindings = [bindings, &[("shares", shares)]].concat();
        let groups = [axis(columns), axis(self.blocks()), 1];
        let total = [("shares", shares), ("sums", sums)];
        [
            self.dispatch(entry, (false, names), &[], &bindings, groups),
            self.dispatch("total", (false, &["COLUMNS", "BLOCKS"]), &[], &total, [axis(columns), 1, 1]),
        ]
    }

    /// The most iterations of a lane.
    fn iterations(&self) -> usize {
        let Sizes { rows, .. } = self.sizes;
        ROWS_EACH + self.blocks() + 2 * self.sizes.width().max(rows).div_ceil(self.team.size)
    }
}

impl Op for Normalize {
    fn stem(&self) -> &'static str {
        "spectral_norm"
    }

    fn name(&self) -> &'static str {
        "spectral_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::forward(Sizes::of(io.input_shape(0), io.input_shape(1).elements()), io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::forward(Sizes::of(io.input_shape(0), io.input_shape(1).elements()), io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("spectral_norm", &[0, 1, 2]);
        let sizes = Sizes::of(shapes.inputs[0], shapes.input_elements(1));
        let kernels = Kernels::of(sizes, shapes.half_output(0), device);
        let (w, shares, sums) = (("w", Operand::Input(0)), Operand::Scratch(0), Operand::Scratch(1));
        let read = [w, ("u", Operand::Input(2))];
        let mut dispatches = kernels.column_sums("project", &read, shares, sums).to_vec();
        let bindings = [
            ("gamma", Operand::Input(1)),
            ("sums", sums),
            ("v", Operand::Output(1)),
            ("numbers", Operand::Output(2)),
        ];
        let names: &[&str] = &["PARTS", "WIDTH"];
        let groups = [axis(sizes.parts), 1, 1];
        dispatches.push(kernels.dispatch("singular_value", (true, names), &[], &bindings, groups));
        let names: &[&str] = &["ROWS", "COLUMNS", "PARTS", "WIDTH"];
        let bindings = [w, ("numbers", Operand::Output(2)), ("scaled", Operand::Output(0))];
        let groups = element::walk(sizes.rows * sizes.columns);
        dispatches.push(kernels.dispatch("scale", (false, names), &[], &bindings, groups));
        let scratch = vec![kernels.blocks() * sizes.columns, sizes.columns];
        Recipe { dispatches, scratch, iterations: kernels.iterations() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(gradient) = adjoint.gradient(0) else { return };
        let [w, u] = [0, 2].map(|i| adjoint.input(i));
        let [v, numbers] = [1, 2].map(|i| adjoint.output(i));
        let [(dw, accumulate), (d_gamma, also)] = [0, 1].map(|i| adjoint.begin_gradient(i));
        assert_eq!(accumulate, also, "a matrix and its gain are used together");
        let op = NormalizeBackward { accumulate };
        adjoint.tape.record(op, &[w, gradient, u, v, numbers], &[d_gamma, dw]);
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl Op for NormalizeBackward {
    fn stem(&self) -> &'static str {
        "spectral_norm"
    }

    fn name(&self) -> &'static str {
        "spectral_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::backward(Sizes::of(io.input_shape(0), io.output_shape(0).elements()), self.accumulate, io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::backward(Sizes::of(io.input_shape(0), io.output_shape(0).elements()), self.accumulate, io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("spectral_norm.backward", &[0, 1, 2, 3, 4]);
        let sizes = Sizes::of(shapes.inputs[0], shapes.output_elements(0));
        let kernels = Kernels::of(sizes, false, device);
        let (shares, sums, drift) = (Operand::Scratch(0), Operand::Scratch(1), Operand::Scratch(2));
        let (gradient, numbers) = (("gradient", Operand::Input(1)), ("known_numbers", Operand::Input(4)));
        let read = [("w", Operand::Input(0)), gradient];
        let mut dispatches = kernels.column_sums("products", &read, shares, sums).to_vec();
        let bindings = [numbers, ("sums", sums), ("d_gamma", Operand::Output(0)), ("drift", drift)];
        let own = [("ACCUMULATE", f64::from(u8::from(self.accumulate)))];
        let groups = [axis(sizes.parts), 1, 1];
        dispatches.push(kernels.dispatch("gains", (true, &["WIDTH"]), &own, &bindings, groups));
        let bindings = [
            gradient,
            ("u", Operand::Input(2)),
            ("known_v", Operand::Input(3)),
            numbers,
            ("drift", drift),
            ("dw", Operand::Output(1)),
        ];
        let names: &[&str] = &["ROWS", "COLUMNS", "PARTS", "WIDTH"];
        let groups = element::walk(sizes.rows * sizes.columns);
        dispatches.push(kernels.dispatch("backward", (false, names), &own, &bindings, groups));
        let scratch = vec![kernels.blocks() * sizes.columns, sizes.columns, sizes.parts];
        Recipe { dispatches, scratch, iterations: kernels.iterations() }
    }

    fn accumulates(&self, _output: usize) -> bool {
        self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        6 * shapes.input_elements(0) as u64
    }
}

impl Op for Iterate {
    fn stem(&self) -> &'static str {
        "spectral_norm"
    }

    fn name(&self) -> &'static str {
        "spectral_norm.iterate"
    }

    fn reference(&self, io: &mut Io<'_>) {
        reference::iterate(Sizes::of(io.input_shape(0), io.input_shape(1).dims()[0]), io);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::iterate(Sizes::of(io.input_shape(0), io.input_shape(1).dims()[0]), io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("spectral_norm.iterate", &[0, 1]);
        let sizes = Sizes::of(shapes.inputs[0], shapes.inputs[1].dims()[0]);
        let kernels = Kernels::of(sizes, false, device);
        let (shares, sums, image) = (Operand::Scratch(0), Operand::Scratch(1), Operand::Scratch(2));
        let read = [("w", Operand::Input(0)), ("u", Operand::Input(1))];
        let mut dispatches = kernels.column_sums("project", &read, shares, sums).to_vec();
        let bindings = [("w", Operand::Input(0)), ("sums", sums), ("image", image)];
        let names: &[&str] = &["ROWS", "COLUMNS", "PARTS", "WIDTH"];
        let groups = grid(sizes.parts * sizes.rows);
        dispatches.push(kernels.dispatch("turn", (true, names), &[], &bindings, groups));
        let bindings = [("image", image), ("u", Operand::Input(1)), ("next", Operand::Output(0))];
        let groups = [axis(sizes.parts), 1, 1];
        dispatches.push(kernels.dispatch("unit", (true, &["ROWS"]), &[], &bindings, groups));
        let scratch = vec![kernels.blocks() * sizes.columns, sizes.columns, sizes.parts * sizes.rows];
        Recipe { dispatches, scratch, iterations: kernels.iterations() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}

impl Op for Keep {
    fn stem(&self) -> &'static str {
        "spectral_norm"
    }

    fn name(&self) -> &'static str {
        "spectral_norm.keep"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        if inputs.get(1).is_none_or(|verdict| verdict[2] != 0.0) {
            outputs[0].copy_from_slice(inputs[0]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        if inputs.get(1).is_none_or(|verdict| verdict[2] != 0.0) {
            outputs[0].copy_from_slice(inputs[0]);
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (parts, rows) = shapes.inputs[0].as_matrix();
        let kernels = Kernels::of(Sizes { rows, columns: parts, parts }, false, device);
        let mut bindings = vec![("known_next", Operand::Input(0)), ("own_u", Operand::Output(0))];
        let entry = if shapes.inputs.len() > 1 { "keep_if_open" } else { "keep" };
        bindings.extend((shapes.inputs.len() > 1).then_some(("verdict", Operand::Input(1))));
        let groups = element::lanes(parts * rows);
        let dispatch = kernels.dispatch(entry, (false, &["ROWS", "PARTS"]), &[], &bindings, groups);
        Recipe { dispatches: vec![dispatch], ..Recipe::default() }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }
}
