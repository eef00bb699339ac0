//! Layer normalization of rows of width d: `y = (x − μ) · r · γ + β`, r = 1/√(σ² + ε).
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ, β `[d]`; μ, r `[rows]`, stored for the adjoint. σ² is the mean of (x − μ)².
//! Adjoint, with x̂ = (x − μ)·r and g = dy∘γ: dx = r·(g − mean(g) − x̂·mean(g∘x̂)); dγ += Σ dy∘x̂ and
//! dβ += Σ dy over rows, summed in two stages in a fixed order.
//!
//! Tapered with a gate t and a scale c (the fake LayerNorm of arXiv 2507.02559, whose gate is open or closed), the factor of x − μ is
//! w = t·r + (1 − t)·c in place of r: dx = w·(g − mean(g)) − t·r·x̂·mean(g∘x̂) and dγ += Σ dy∘(x − μ)·w. The mean is taken away
//! with the gate closed as well: that is linear, and can be moved into the matrices around it. See [`super::taper`].

mod cases;
mod host;

pub use cases::cases;

use super::norm_rows::{Shared, by_images, key, parameter_variants, read_as, stored};
use super::team::{RowBlocks, Team, Vectors};
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation. Inputs: x, γ, β and, if tapered, (t, c). Outputs: y, μ, r.
#[derive(Debug)]
pub struct LayerNorm {
    pub epsilon: f32,
    pub tapered: bool,
}

/// dx of [`LayerNorm`]. Inputs: x, γ, μ, r, dy, then (t, c) if tapered, then what is added to dx. Output: dx.
#[derive(Debug)]
pub struct LayerNormBackward {
    pub tapered: bool,
    /// Whether the last input is added to dx.
    pub addend: bool,
}

/// dγ and dβ of [`LayerNorm`]. Inputs: x, μ, r, dy and, if tapered, (t, c). Outputs: dγ, dβ, to which it adds.
#[derive(Debug)]
pub struct LayerNormParameters {
    pub tapered: bool,
}

/// The factor of x − μ in a row with that r.
fn factor(r: f64, taper: Option<&&[f64]>) -> f64 {
    taper.map_or(r, |taper| taper[0] * r + (1.0 - taper[0]) * taper[1])
}

impl Tape {
    /// Records layer normalization over the last extent of `x`; `gamma` and `beta` are vectors of that width.
    /// The result's element type is `result`.
    pub fn layer_norm(
        &mut self,
        x: TensorId,
        learned: (TensorId, TensorId),
        epsilon: f32,
        result: DType,
    ) -> TensorId {
        self.layer_norm_of(x, learned, None, epsilon, result).0
    }

    /// Layer normalization with a state (t, c) `[2]`; returns y and r.
    pub fn tapered_layer_norm(
        &mut self,
        x: TensorId,
        learned: (TensorId, TensorId),
        taper: TensorId,
        epsilon: f32,
        result: DType,
    ) -> (TensorId, TensorId) {
        self.layer_norm_of(x, learned, Some(taper), epsilon, result)
    }

    fn layer_norm_of(
        &mut self,
        x: TensorId,
        (gamma, beta): (TensorId, TensorId),
        taper: Option<TensorId>,
        epsilon: f32,
        result: DType,
    ) -> (TensorId, TensorId) {
        let dims = self.shape(x).dims().to_vec();
        let (rows, width) = self.shape(x).as_matrix();
        for vector in [gamma, beta] {
            let info = self.info(vector);
            assert_eq!(info.shape.dims(), [width], "layer_norm: {} for rows of {width}", info.name);
        }
        let y = self.intermediate_of("norm", &dims, result);
        let mean = self.intermediate("norm.mean", &[rows]);
        let rstd = self.intermediate("norm.rstd", &[rows]);
        let inputs: Vec<_> = [x, gamma, beta].into_iter().chain(taper).collect();
        self.record(LayerNorm { epsilon, tapered: taper.is_some() }, &inputs, &[y, mean, rstd]);
        (y, rstd)
    }
}

const SHADER: &str = include_str!("../../shaders/layer_norm.wgsl");

/// A kernel in which a team of lanes processes each row.
fn by_rows(
    (entry, tapered): (&'static str, bool),
    (rows, columns): (usize, usize),
    half: bool,
    device: &Traits,
    epsilon: Option<f32>,
    bindings: &[(&'static str, Operand)],
) -> Recipe {
    let shared = Shared::of(entry, (rows, columns), device);
    let mut constants = shared.constants((rows, columns));
    constants.extend(epsilon.map(|epsilon| ("EPSILON", f64::from(epsilon))));
    let images = by_images((rows, columns), half, device);
    let addend = bindings.iter().any(|(name, _)| *name == "addend");
    let text = text([images, addend, half, tapered], shared.keep, &shared.vectors, shared.team.kind);
    let kernel = Kernel::new(text, entry, &constants);
    Recipe::one(kernel, &read_as(images, bindings), grid(shared.team.workgroups(rows)))
}

/// The shader's text. A lane keeps `keep` vectors of a row; with `half`, y and dy are f16.
fn text([images, addend, half, tapered]: [bool; 4], keep: usize, vectors: &Vectors, team: &str) -> Arc<str> {
    let numbers = [("lanes", element::LANES), ("keep", keep), ("vector", vectors.size)];
    let [own, narrow, texel] = stored(half, vectors);
    let texts = [("team", team.to_owned()), own, narrow, texel];
    let flags = [("images", images), ("addend", addend), ("half", half), ("tapered", tapered)];
    unroll(SHADER, &numbers, &flags, &texts)
}

impl Op for LayerNorm {
    fn stem(&self) -> &'static str {
        "layer_norm"
    }

    fn name(&self) -> &'static str {
        "layer_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [y, means, rstds] = outputs else { unreachable!("three outputs") };
        for (i, x) in inputs[0].chunks(width).enumerate() {
            let mean = x.iter().sum::<f64>() / width as f64;
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / width as f64;
            let rstd = 1.0 / (variance + f64::from(self.epsilon)).sqrt();
            let factor = factor(rstd, inputs.get(3));
            for (c, v) in x.iter().enumerate() {
                y[i * width + c] = (v - mean) * factor * inputs[1][c] + inputs[2][c];
            }
            means[i] = mean;
            rstds[i] = rstd;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(width, self.epsilon, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("beta", Operand::Input(2)),
            ("y", Operand::Output(0)),
            ("mean", Operand::Output(1)),
            ("rstd", Operand::Output(2)),
        ];
        bindings.extend(self.tapered.then_some(("taper", Operand::Input(3))));
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_output(0));
        by_rows(("layer_norm", self.tapered), size, half, device, Some(self.epsilon), &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let Self { tapered, .. } = *self;
        let taper = tapered.then(|| adjoint.input(3));
        let (x, gamma) = (adjoint.input(0), adjoint.input(1));
        let (mean, rstd) = (adjoint.output(1), adjoint.output(2));
        if adjoint.wants(1) || adjoint.wants(2) {
            let (dgamma, dbeta) = (adjoint.parameter_gradient(1), adjoint.parameter_gradient(2));
            let inputs: Vec<_> = [x, mean, rstd, dy].into_iter().chain(taper).collect();
            adjoint.tape.record(LayerNormParameters { tapered }, &inputs, &[dgamma, dbeta]);
        }
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            let inputs: Vec<_> = [x, gamma, mean, rstd, dy].into_iter().chain(taper).collect();
            adjoint.tape.record(LayerNormBackward { tapered, addend: false }, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("layer_norm", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        8 * shapes.input_elements(0) as u64
    }
}

impl Op for LayerNormBackward {
    fn stem(&self) -> &'static str {
        "layer_norm"
    }

    fn name(&self) -> &'static str {
        "layer_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, means, rstds, dy, others @ ..] = inputs else { unreachable!("five inputs and more") };
        let (taper, addend) = others.split_at(usize::from(self.tapered));
        let gate = taper.first().map_or(1.0, |taper| taper[0]);
        for (i, (&mean, &rstd)) in means.iter().zip(rstds.iter()).enumerate() {
            let row = i * width..(i + 1) * width;
            let xhat: Vec<f64> = x[row.clone()].iter().map(|v| (v - mean) * rstd).collect();
            let g: Vec<f64> = dy[row.clone()].iter().zip(gamma.iter()).map(|(d, w)| d * w).collect();
            let g_mean = g.iter().sum::<f64>() / width as f64;
            let along = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / width as f64;
            for (dx, (g, xhat)) in outputs[0][row.clone()].iter_mut().zip(g.iter().zip(&xhat)) {
                *dx = factor(rstd, taper.first()) * (g - g_mean) - gate * rstd * xhat * along;
            }
            for addend in addend {
                for (dx, before) in outputs[0][row.clone()].iter_mut().zip(&addend[row.clone()]) {
                    *dx += before;
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward((width, self.tapered), inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("known_mean", Operand::Input(2)),
            ("known_rstd", Operand::Input(3)),
            ("dy", Operand::Input(4)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.tapered.then_some(("taper", Operand::Input(5))));
        bindings.extend(self.addend.then_some(("addend", Operand::Input(5 + usize::from(self.tapered)))));
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(4));
        by_rows(("layer_norm_backward", self.tapered), size, half, device, None, &bindings)
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true, ..*self }) as Arc<dyn Op>)
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("layer_norm_backward", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        12 * shapes.input_elements(0) as u64
    }
}

impl Op for LayerNormParameters {
    fn stem(&self) -> &'static str {
        "layer_norm"
    }

    fn name(&self) -> &'static str {
        "layer_norm.parameters"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, means, rstds, dy, taper @ ..] = inputs else { unreachable!("four inputs and more") };
        for (i, d) in dy.iter().enumerate() {
            let (row, column) = (i / width, i % width);
            outputs[0][column] += d * (x[i] - means[row]) * factor(rstds[row], taper.first());
            outputs[1][column] += d;
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
        let half = shapes.half_input(3);
        let images = by_images((rows, columns), half, device);
        let RowBlocks(block_rows) =
            Tuning::chosen(&key("layer_norm_parameters", (rows, columns)), &parameter_variants(rows), device);
        let blocks = rows.div_ceil(block_rows);
        let kernel = |entry, constants: &[(&'static str, f64)]| {
            Kernel::new(text([images, false, half, self.tapered], 1, &vectors, Team::ALONE), entry, constants)
        };
        let (width, blocks_f) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("known_mean", Operand::Input(1)),
            ("known_rstd", Operand::Input(2)),
            ("dy", Operand::Input(3)),
            ("gamma_parts", Operand::Scratch(0)),
            ("beta_parts", Operand::Scratch(1)),
        ];
        bindings.extend(self.tapered.then_some(("taper", Operand::Input(4))));
        let parts = Dispatch {
            kernel: kernel(
                "column_parts",
                &[width, blocks_f, ("ROWS", rows as f64), ("BLOCK_ROWS", block_rows as f64)],
            ),
            bindings: read_as(images, &bindings),
            groups: element::lanes(blocks * vectors.width),
        };
        let totals = Dispatch {
            kernel: kernel("column_totals", &[width, blocks_f]),
            bindings: vec![
                ("gamma_parts", Operand::Scratch(0)),
                ("beta_parts", Operand::Scratch(1)),
                ("dgamma", Operand::Output(0)),
                ("dbeta", Operand::Output(1)),
            ],
            groups: element::lanes(vectors.width),
        };
        Recipe {
            dispatches: vec![parts, totals],
            scratch: vec![blocks * columns; 2],
            iterations: block_rows.max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let extents = shapes.inputs[0].as_matrix();
        Some(Tuning::of(key("layer_norm_parameters", extents), &parameter_variants(extents.0)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        5 * shapes.input_elements(0) as u64
    }
}
