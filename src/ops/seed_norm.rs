//! SeeDNorm of rows of width d (arXiv 2510.22777): `y = (t·α + γ)∘x̂`, x̂ = x·r, r = 1/√(mean(x²) + ε), t = tanh(x·b).
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ, α, b `[d]`; (r, t) `[rows, 2]`, stored for the adjoint. Adjoint, with
//! h = dy∘(t·α + γ), m = mean(h∘x̂) and q = (1 − t²)·Σ dy∘α∘x̂ of a row: dx = r·(h − x̂·m) + q·b; dγ += Σ dy∘x̂, dα += Σ t·dy∘x̂
//! and db += Σ q·x over rows, summed in two stages in a fixed order.

mod cases;
mod host;

pub use cases::cases;

use super::norm_rows::{by_images, key, parameter_variants, stored};
use super::team::{RowBlocks, Team, Vectors};
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation. Inputs: x, γ, α, b. Outputs: y, (r, t).
#[derive(Debug)]
pub struct SeedNorm {
    pub epsilon: f32,
}

/// (r, t, m, q) of each row. Inputs: x, γ, α, (r, t), dy. Output: `[rows, 4]`.
#[derive(Debug)]
struct SeedNormAlong;

/// dx. Inputs: x, γ, α, b, (r, t, m, q), dy, and what is added to dx. Output: dx.
#[derive(Debug)]
struct SeedNormBackward {
    addend: bool,
}

/// dγ, dα, db. Inputs: x, (r, t, m, q), dy. Outputs: those gradients, to which it adds.
#[derive(Debug)]
struct SeedNormParameters;

impl Tape {
    /// Records SeeDNorm over the last extent of `x` with γ, α and b. The result's element type is `result`.
    pub fn seed_norm(
        &mut self,
        x: TensorId,
        learned: [TensorId; 3],
        epsilon: f32,
        result: DType,
    ) -> TensorId {
        let dims = self.shape(x).dims().to_vec();
        let (rows, width) = self.shape(x).as_matrix();
        for vector in learned {
            assert_eq!(self.shape(vector).dims(), [width], "seed_norm: {}", self.info(vector).name);
        }
        let y = self.intermediate_of("norm", &dims, result);
        let numbers = self.intermediate("norm.numbers", &[rows, 2]);
        let [gamma, alpha, beta] = learned;
        self.record(SeedNorm { epsilon }, &[x, gamma, alpha, beta], &[y, numbers]);
        y
    }
}

/// The shader's text.
fn text([images, addend, half]: [bool; 3], vectors: &Vectors, team: &str) -> Arc<str> {
    let [lanes, each] = element::WALK;
    let [own, narrow, texel] = stored(half, vectors);
    let texts = [("team", team.to_owned()), own, narrow, texel];
    let flags = [("images", images), ("addend", addend), ("half", half)];
    let numbers = [lanes, each, ("vector", vectors.size)];
    unroll(include_str!("../../shaders/seed_norm.wgsl"), &numbers, &flags, &texts)
}

/// The bindings, with rows as images if the text reads images.
fn read_as(images: bool, bindings: &[Binding]) -> Vec<Binding> {
    let as_image = |&(name, operand): &Binding| match operand {
        Operand::Input(i) if images && ["x", "dy", "addend"].contains(&name) => {
            (name, Operand::InputImage(i))
        }
        _ => (name, operand),
    };
    bindings.iter().map(as_image).collect()
}

/// A kernel in which a team of lanes processes each row.
fn by_rows(
    entry: &'static str,
    (rows, columns): (usize, usize),
    half: bool,
    device: &Traits,
    epsilon: Option<f32>,
    bindings: &[Binding],
) -> Recipe {
    let team = Team::chosen(&key(entry, (rows, columns)), device);
    let vectors = Vectors::of(columns);
    let images = by_images((rows, columns), half, device);
    let mut constants = vec![
        ("ROWS", rows as f64),
        ("WIDTH", vectors.width as f64),
        ("COLUMNS", columns as f64),
        ("TEAM_LANES", team.lanes as f64),
        ("TEAM", team.size as f64),
    ];
    constants.extend(epsilon.map(|epsilon| ("EPSILON", f64::from(epsilon))));
    let kernel = Kernel::new(text([images, false, half], &vectors, team.kind), entry, &constants);
    Recipe::one(kernel, &read_as(images, bindings), grid(team.workgroups(rows)))
        .with_iterations(vectors.width.div_ceil(team.size))
}

impl Op for SeedNorm {
    fn stem(&self) -> &'static str {
        "seed_norm"
    }

    fn name(&self) -> &'static str {
        "seed_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, alpha, beta] = inputs else { unreachable!("four inputs") };
        for (i, x) in x.chunks(width).enumerate() {
            let squares = x.iter().map(|v| v * v).sum::<f64>() / width as f64;
            let r = 1.0 / (squares + f64::from(self.epsilon)).sqrt();
            let t = x.iter().zip(*beta).map(|(x, b)| x * b).sum::<f64>().tanh();
            for (c, x) in x.iter().enumerate() {
                outputs[0][i * width + c] = (t * alpha[c] + gamma[c]) * x * r;
            }
            outputs[1][2 * i] = r;
            outputs[1][2 * i + 1] = t;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(width, self.epsilon, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let bindings = [
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("alpha", Operand::Input(2)),
            ("beta", Operand::Input(3)),
            ("y", Operand::Output(0)),
            ("numbers", Operand::Output(1)),
        ];
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_output(0));
        by_rows("seed_norm", size, half, device, Some(self.epsilon), &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let [x, gamma, alpha, beta] = [0, 1, 2, 3].map(|i| adjoint.input(i));
        let numbers = adjoint.output(1);
        let (rows, _) = adjoint.tape.shape(numbers).as_matrix();
        let along = adjoint.tape.intermediate("norm.along", &[rows, 4]);
        adjoint.tape.record(SeedNormAlong, &[x, gamma, alpha, numbers, dy], &[along]);
        let gradients = [1, 2, 3].map(|i| adjoint.parameter_gradient(i));
        adjoint.tape.record(SeedNormParameters, &[x, along, dy], &gradients);
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            let inputs = [x, gamma, alpha, beta, along, dy];
            adjoint.tape.record(SeedNormBackward { addend: false }, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("seed_norm", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        8 * shapes.input_elements(0) as u64
    }
}

impl Op for SeedNormAlong {
    fn stem(&self) -> &'static str {
        "seed_norm"
    }

    fn name(&self) -> &'static str {
        "seed_norm.along"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, alpha, numbers, dy] = inputs else { unreachable!("five inputs") };
        for (i, of) in numbers.chunks(2).enumerate() {
            let (mut mean, mut pull) = (0.0, 0.0);
            for c in 0..width {
                let d = dy[i * width + c] * x[i * width + c] * of[0];
                mean += d * (of[1] * alpha[c] + gamma[c]);
                pull += d * alpha[c];
            }
            let numbers = [of[0], of[1], mean / width as f64, pull * (1.0 - of[1] * of[1])];
            outputs[0][4 * i..4 * i + 4].copy_from_slice(&numbers);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::along(width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let bindings = [
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("alpha", Operand::Input(2)),
            ("known", Operand::Input(3)),
            ("dy", Operand::Input(4)),
            ("along", Operand::Output(0)),
        ];
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(4));
        by_rows("seed_norm_along", size, half, device, None, &bindings)
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("seed_norm_along", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        8 * shapes.input_elements(0) as u64
    }
}

impl Op for SeedNormBackward {
    fn stem(&self) -> &'static str {
        "seed_norm"
    }

    fn name(&self) -> &'static str {
        "seed_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, alpha, beta, along, dy, addend @ ..] = inputs else { unreachable!("six inputs") };
        for (i, dx) in outputs[0].iter_mut().enumerate() {
            let (row, c) = (i / width, i % width);
            let [r, t, m, q] = [0, 1, 2, 3].map(|at| along[4 * row + at]);
            let h = dy[i] * (t * alpha[c] + gamma[c]);
            let past: f64 = addend.iter().map(|addend| addend[i]).sum();
            *dx = past + r * (h - x[i] * r * m) + q * beta[c];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward(width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("alpha", Operand::Input(2)),
            ("beta", Operand::Input(3)),
            ("known_along", Operand::Input(4)),
            ("dy", Operand::Input(5)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.addend.then_some(("addend", Operand::Input(6))));
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let half = shapes.half_input(5);
        let vectors = Vectors::of(columns);
        let images = by_images((rows, columns), half, device);
        let text = text([images, self.addend, half], &vectors, Team::ALONE);
        let constants = [("ROWS", rows as f64), ("WIDTH", vectors.width as f64)];
        let kernel = Kernel::new(text, "seed_norm_backward", &constants);
        Recipe::one(kernel, &read_as(images, &bindings), element::walk(rows * vectors.width))
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        9 * shapes.input_elements(0) as u64
    }
}

impl Op for SeedNormParameters {
    fn stem(&self) -> &'static str {
        "seed_norm"
    }

    fn name(&self) -> &'static str {
        "seed_norm.parameters"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, along, dy] = inputs else { unreachable!("three inputs") };
        for (i, d) in dy.iter().enumerate() {
            let (row, c) = (i / width, i % width);
            let [r, t, _, q] = [0, 1, 2, 3].map(|at| along[4 * row + at]);
            outputs[0][c] += d * x[i] * r;
            outputs[1][c] += t * d * x[i] * r;
            outputs[2][c] += q * x[i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::parameters(width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let vectors = Vectors::of(columns);
        let half = shapes.half_input(2);
        let images = by_images((rows, columns), half, device);
        let variants = parameter_variants(rows);
        let RowBlocks(block_rows) =
            Tuning::chosen(&key("seed_norm_parameters", (rows, columns)), &variants, device);
        let blocks = rows.div_ceil(block_rows);
        let text = text([images, false, half], &vectors, Team::ALONE);
        let (width, blocks_f) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
        let own = [width, blocks_f, ("ROWS", rows as f64), ("BLOCK_ROWS", block_rows as f64)];
        let bindings = [
            ("x", Operand::Input(0)),
            ("known_along", Operand::Input(1)),
            ("dy", Operand::Input(2)),
            ("parts", Operand::Scratch(0)),
        ];
        let parts = Dispatch {
            kernel: Kernel::new(text.clone(), "column_parts", &own),
            bindings: read_as(images, &bindings),
            groups: element::lanes(blocks * vectors.width),
        };
        let totals = Dispatch {
            kernel: Kernel::new(text, "column_totals", &[width, blocks_f]),
            bindings: vec![
                ("parts", Operand::Scratch(0)),
                ("dgamma", Operand::Output(0)),
                ("dalpha", Operand::Output(1)),
                ("dbeta", Operand::Output(2)),
            ],
            groups: element::lanes(vectors.width),
        };
        Recipe {
            dispatches: vec![parts, totals],
            scratch: vec![3 * blocks * columns],
            iterations: block_rows.max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let extents = shapes.inputs[0].as_matrix();
        Some(Tuning::of(key("seed_norm_parameters", extents), &parameter_variants(extents.0)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        7 * shapes.input_elements(0) as u64
    }
}
