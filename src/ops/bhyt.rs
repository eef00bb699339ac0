//! BHyT (arXiv 2601.09719, and its code, MLAI-Yonsei/BHyT): `y = γ∘tanh(λ·r·x)` of rows of width d, r = 1/(κ·√(v + ε)), with
//! a learned λ.
//!
//! The first site of a block computes v = mean(x²). The second is given the first's v₁ and takes v = v₁ + k in place of a
//! reduction of its own; k estimates what attention adds ([`super::attention_variance`]) and is λ₁² times a constant of the
//! matrices.
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ `[d]`; v `[rows]`; λ, λ₁, k `[1]`. Adjoint, with g = dy∘γ∘(1 − tanh²) and
//! s = Σ g∘x of a row: dv = −½·λ·s·r³·κ²; dx = λ·r·g, and at the first site (dv + what comes from the second)·2x/d besides;
//! dγ += Σ dy∘tanh, dλ += Σ s·r and dλ₁ += 2k/λ₁·Σ dv over rows, in a fixed order. k itself has no gradient, as in the code.

mod cases;
mod host;
mod site;

pub use cases::cases;
pub use site::{First, Site};

use super::bounded::NormFunction;
use super::norm_rows::{by_images, key, parameter_variants, read_as, stored};
use super::team::{RowBlocks, Team, Vectors};
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation. Inputs: x, γ, λ and, if given, v₁, k, λ₁. Outputs: y and, if not given, v.
#[derive(Debug)]
pub struct Bhyt(pub Site);

/// r and s of each row. Inputs: x, γ, λ, v or v₁, dy and, if given, k. Outputs: (r, s) `[rows, 2]` and, if given, dv.
#[derive(Debug)]
pub struct BhytAlong(pub Site);

/// dx. Inputs: x, γ, λ, (r, s), dy; the second site's dv if v was handed on; what is added to dx. Output: dx.
#[derive(Clone, Debug)]
pub struct BhytBackward {
    pub site: Site,
    pub handed: bool,
    pub addend: bool,
}

/// The learned numbers' gradients. Inputs: x, λ, (r, s), dy and, if given, k, λ₁. Outputs: dγ, dλ and, if given, dλ₁; it adds
/// to all.
#[derive(Debug)]
pub struct BhytParameters(pub Site);

impl Tape {
    /// Records BHyT over the last extent of `x` with γ and λ, and returns y and, unless it is given, v.
    pub fn bhyt(
        &mut self,
        x: TensorId,
        (gamma, lambda): (TensorId, TensorId),
        (epsilon, inverse): (f32, f32),
        first: Option<First>,
        result: DType,
    ) -> (TensorId, Option<TensorId>) {
        let dims = self.shape(x).dims().to_vec();
        let (rows, width) = self.shape(x).as_matrix();
        assert_eq!(self.shape(gamma).dims(), [width], "bhyt: {}", self.info(gamma).name);
        assert_eq!(self.shape(lambda).dims(), [1], "bhyt: {}", self.info(lambda).name);
        let site = Site { epsilon, inverse, given: first.is_some() };
        let y = self.intermediate_of("norm", &dims, result);
        let Some(first) = first else {
            let variance = self.intermediate("norm.variance", &[rows]);
            self.record(Bhyt(site), &[x, gamma, lambda], &[y, variance]);
            return (y, Some(variance));
        };
        let inputs = [x, gamma, lambda, first.variance, first.added, first.lambda];
        self.record(Bhyt(site), &inputs, &[y]);
        (y, None)
    }
}

impl Site {
    fn constants(self) -> [(&'static str, f64); 2] {
        [("EPSILON", f64::from(self.epsilon)), ("INVERSE", f64::from(self.inverse))]
    }

    /// The shader's text.
    fn text(self, [images, addend, half, handed]: [bool; 4], vectors: &Vectors, team: &str) -> Arc<str> {
        let [lanes, each] = element::WALK;
        let [own, narrow, texel] = stored(half, vectors);
        let function = ("function", NormFunction::TANH.wgsl.to_owned());
        let texts = [("team", team.to_owned()), function, own, narrow, texel];
        let flags = [
            ("images", images),
            ("addend", addend),
            ("half", half),
            ("given", self.given),
            ("handed", handed),
        ];
        let numbers = [lanes, each, ("vector", vectors.size)];
        unroll(include_str!("../../shaders/bhyt.wgsl"), &numbers, &flags, &texts)
    }

    /// A kernel in which a team of lanes processes each row.
    fn by_rows(
        self,
        entry: &'static str,
        (rows, columns): (usize, usize),
        half: bool,
        device: &Traits,
        bindings: &[Binding],
    ) -> Recipe {
        let team = Team::chosen(&key(entry, (rows, columns)), device);
        let vectors = Vectors::of(columns);
        let images = by_images((rows, columns), half, device);
        let text = self.text([images, false, half, false], &vectors, team.kind);
        let mut constants = vec![
            ("ROWS", rows as f64),
            ("WIDTH", vectors.width as f64),
            ("TEAM_LANES", team.lanes as f64),
            ("TEAM", team.size as f64),
        ];
        constants.extend(self.constants());
        if entry == "bhyt" && !self.given {
            constants.push(("COLUMNS", columns as f64));
        }
        let kernel = Kernel::new(text, entry, &constants);
        Recipe::one(kernel, &read_as(images, bindings), grid(team.workgroups(rows)))
            .with_iterations(vectors.width.div_ceil(team.size))
    }
}

impl Op for Bhyt {
    fn stem(&self) -> &'static str {
        "bhyt"
    }

    fn name(&self) -> &'static str {
        "bhyt"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let added = if self.0.given { inputs[4][0] } else { 0.0 };
        for (i, x) in inputs[0].chunks(width).enumerate() {
            let v = match self.0.given {
                true => inputs[3][i],
                false => x.iter().map(|v| v * v).sum::<f64>() / width as f64,
            };
            let factor = inputs[2][0] * self.0.scale(v, added);
            for (c, v) in x.iter().enumerate() {
                outputs[0][i * width + c] = inputs[1][c] * (factor * v).tanh();
            }
            if !self.0.given {
                outputs[1][i] = v;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(self.0, width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("lambda", Operand::Input(2)),
            ("y", Operand::Output(0)),
        ];
        match self.0.given {
            true => bindings.extend([("known", Operand::Input(3)), ("added", Operand::Input(4))]),
            false => bindings.push(("variance", Operand::Output(1))),
        }
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_output(0));
        self.0.by_rows("bhyt", size, half, device, &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let Site { given, .. } = self.0;
        let handed = if given { None } else { adjoint.gradient(1) };
        let [x, gamma, lambda] = [0, 1, 2].map(|i| adjoint.input(i));
        let known = if given { adjoint.input(3) } else { adjoint.output(1) };
        let from_first = given.then(|| [4, 5].map(|i| adjoint.input(i)));
        let rows = adjoint.tape.shape(known).elements();
        let along = adjoint.tape.intermediate("norm.along", &[rows, 2]);
        let mut inputs = vec![x, gamma, lambda, known, dy];
        let mut outputs = vec![along];
        if let Some([added, _]) = from_first {
            inputs.push(added);
            outputs.push(adjoint.fresh_like(3));
        }
        adjoint.tape.record(BhytAlong(self.0), &inputs, &outputs);
        if given {
            adjoint.contribute(3, outputs[1]);
        }
        let learned: &[usize] = if given { &[1, 2, 5] } else { &[1, 2] };
        let gradients: Vec<_> = learned.iter().map(|&i| adjoint.parameter_gradient(i)).collect();
        let inputs: Vec<_> =
            [x, lambda, along, dy].into_iter().chain(from_first.into_iter().flatten()).collect();
        adjoint.tape.record(BhytParameters(self.0), &inputs, &gradients);
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            let op = BhytBackward { site: self.0, handed: handed.is_some(), addend: false };
            let inputs: Vec<_> = [x, gamma, lambda, along, dy].into_iter().chain(handed).collect();
            adjoint.tape.record(op, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("bhyt", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (NormFunction::TANH.flops + 4) * shapes.input_elements(0) as u64
    }
}

impl Op for BhytAlong {
    fn stem(&self) -> &'static str {
        "bhyt"
    }

    fn name(&self) -> &'static str {
        "bhyt.along"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, lambda, known, dy, added @ ..] = inputs else { unreachable!("five inputs and more") };
        let added = added.first().map_or(0.0, |added| added[0]);
        for (i, &v) in known.iter().enumerate() {
            let r = self.0.scale(v, added);
            let of = |c: usize| {
                let x = x[i * width + c];
                let slope = 1.0 / (lambda[0] * r * x).cosh().powi(2);
                dy[i * width + c] * gamma[c] * slope * x
            };
            let s: f64 = (0..width).map(of).sum();
            outputs[0][2 * i] = r;
            outputs[0][2 * i + 1] = s;
            if self.0.given {
                outputs[1][i] = self.0.pull(lambda[0], r, s);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::along(self.0, width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("lambda", Operand::Input(2)),
            ("known", Operand::Input(3)),
            ("dy", Operand::Input(4)),
            ("along", Operand::Output(0)),
        ];
        if self.0.given {
            bindings.extend([("added", Operand::Input(5)), ("d_variance", Operand::Output(1))]);
        }
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(4));
        self.0.by_rows("bhyt_along", size, half, device, &bindings)
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("bhyt_along", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (NormFunction::TANH.flops + 4) * shapes.input_elements(0) as u64
    }
}

impl Op for BhytBackward {
    fn stem(&self) -> &'static str {
        "bhyt"
    }

    fn name(&self) -> &'static str {
        "bhyt.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, lambda, along, dy, others @ ..] = inputs else { unreachable!("five inputs and more") };
        let addend = self.addend.then(|| others[others.len() - 1]);
        for (i, dx) in outputs[0].iter_mut().enumerate() {
            let (row, c) = (i / width, i % width);
            let [r, s] = [along[2 * row], along[2 * row + 1]];
            let own = if self.site.given { 0.0 } else { self.site.pull(lambda[0], r, s) };
            let by_variance = own + if self.handed { others[0][row] } else { 0.0 };
            let g = dy[i] * gamma[c] / (lambda[0] * r * x[i]).cosh().powi(2);
            let past = addend.map_or(0.0, |addend| addend[i]);
            *dx = past + lambda[0] * r * g + 2.0 / width as f64 * by_variance * x[i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward((self.site, self.handed, self.addend), width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("lambda", Operand::Input(2)),
            ("known_along", Operand::Input(3)),
            ("dy", Operand::Input(4)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.handed.then_some(("handed_gradient", Operand::Input(5))));
        bindings.extend(self.addend.then_some(("addend", Operand::Input(5 + usize::from(self.handed)))));
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let half = shapes.half_input(4);
        let vectors = Vectors::of(columns);
        let images = by_images((rows, columns), half, device);
        let text = self.site.text([images, self.addend, half, self.handed], &vectors, Team::ALONE);
        let mut constants =
            vec![("ROWS", rows as f64), ("WIDTH", vectors.width as f64), ("COLUMNS", columns as f64)];
        if !self.site.given {
            constants.push(self.site.constants()[1]);
        }
        let kernel = Kernel::new(text, "bhyt_backward", &constants);
        Recipe::one(kernel, &read_as(images, &bindings), element::walk(rows * vectors.width))
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true, ..self.clone() }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (NormFunction::TANH.flops + 6) * shapes.input_elements(0) as u64
    }
}

impl Op for BhytParameters {
    fn stem(&self) -> &'static str {
        "bhyt"
    }

    fn name(&self) -> &'static str {
        "bhyt.parameters"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, lambda, along, dy, first @ ..] = inputs else { unreachable!("four inputs and more") };
        for (i, d) in dy.iter().enumerate() {
            outputs[0][i % width] += d * (lambda[0] * along[2 * (i / width)] * x[i]).tanh();
        }
        for row in along.chunks(2) {
            outputs[1][0] += row[0] * row[1];
            if let [added, first_lambda] = first {
                outputs[2][0] += 2.0 * added[0] / first_lambda[0] * self.0.pull(lambda[0], row[0], row[1]);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::parameters(self.0, width, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let vectors = Vectors::of(columns);
        let half = shapes.half_input(3);
        let images = by_images((rows, columns), half, device);
        let RowBlocks(block_rows) =
            Tuning::chosen(&key("bhyt_parameters", (rows, columns)), &parameter_variants(rows), device);
        let blocks = rows.div_ceil(block_rows);
        let text = self.0.text([images, false, half, false], &vectors, Team::ALONE);
        let (width, blocks_f) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
        let own = [width, blocks_f, ("ROWS", rows as f64), ("BLOCK_ROWS", block_rows as f64)];
        let bindings = [
            ("x", Operand::Input(0)),
            ("lambda", Operand::Input(1)),
            ("known_along", Operand::Input(2)),
            ("dy", Operand::Input(3)),
            ("gamma_parts", Operand::Scratch(0)),
        ];
        let parts = Dispatch {
            kernel: Kernel::new(text.clone(), "column_parts", &own),
            bindings: read_as(images, &bindings),
            groups: element::lanes(blocks * vectors.width),
        };
        let totals = Dispatch {
            kernel: Kernel::new(text, "column_totals", &[width, blocks_f]),
            bindings: vec![("gamma_parts", Operand::Scratch(0)), ("dgamma", Operand::Output(0))],
            groups: element::lanes(vectors.width),
        };
        let team = Team::single(device);
        let text = self.0.text([images, false, half, false], &vectors, team.kind);
        let mut own =
            vec![("ROWS", rows as f64), ("TEAM_LANES", team.lanes as f64), ("TEAM", team.size as f64)];
        let mut bindings = vec![("known_along", Operand::Input(2)), ("d_lambda", Operand::Output(1))];
        if self.0.given {
            own.push(self.0.constants()[1]);
            bindings.extend([
                ("lambda", Operand::Input(1)),
                ("added", Operand::Input(4)),
                ("first_lambda", Operand::Input(5)),
                ("d_first_lambda", Operand::Output(2)),
            ]);
        }
        let lambdas =
            Dispatch { kernel: Kernel::new(text, "lambda_totals", &own), bindings, groups: [1, 1, 1] };
        Recipe {
            dispatches: vec![parts, totals, lambdas],
            scratch: vec![blocks * columns],
            iterations: block_rows.max(blocks).max(rows.div_ceil(team.size)),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let extents = shapes.inputs[0].as_matrix();
        Some(Tuning::of(key("bhyt_parameters", extents), &parameter_variants(extents.0)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (NormFunction::TANH.flops + 3) * shapes.input_elements(0) as u64
    }
}
