//! RMSNorm of rows of width d (Zhang and Sennrich 2019, arXiv 1910.07467): `y = x · r · γ`, r = 1/√(mean(x²) + ε).
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ `[d]`; r `[rows]`, stored for the adjoint.
//! Adjoint, with x̂ = x·r and g = dy∘γ: dx = r·(g − x̂·mean(g∘x̂)); dγ += Σ dy∘x̂ over rows, summed in two stages in a fixed
//! order.
//!
//! Compressed (CRMSNorm; Jiang et al. 2023, arXiv 2305.14858), x is a row of d + 1 elements with mean zero without its last one:
//! r = 1/√((Σx² + S²)/(d + 1) + ε) with S = Σx, and dx = r·(g − (x + S)·r·Σ(g∘x̂)/(d + 1)).
//!
//! Tapered (TaperNorm, arXiv 2602.10408) with a gate t and a scale c, the factor of x is w = t·r + (1 − t)·c in place of r: dx =
//! w·g − t·r·x̂·mean(g∘x̂) and dγ += Σ dy∘x·w. At t = 0 nothing of the row's statistics is left. See [`super::taper`].

mod cases;
mod form;
mod host;

pub use cases::cases;
pub use form::Form;

use super::norm_rows::{Shared, by_images, key, parameter_variants, read_as, stored};
use super::team::{RowBlocks, Team, Vectors};
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation. Inputs: x, γ and, if tapered, (t, c). Outputs: y, r.
#[derive(Debug)]
pub struct RmsNorm {
    pub epsilon: f32,
    pub form: Form,
}

/// dx of [`RmsNorm`]. Inputs: x, γ, r, dy, then (t, c) if tapered, then what is added to dx. Output: dx.
#[derive(Debug)]
pub struct RmsNormBackward {
    pub form: Form,
    /// Whether the last input is added to dx.
    pub addend: bool,
}

/// dγ of [`RmsNorm`]. Inputs: x, r, dy and, if tapered, (t, c). Output: dγ, to which it adds.
#[derive(Debug)]
pub struct RmsNormParameters {
    pub tapered: bool,
}

/// The factor of x in a row with that r.
fn factor(r: f64, taper: Option<&&[f64]>) -> f64 {
    taper.map_or(r, |taper| taper[0] * r + (1.0 - taper[0]) * taper[1])
}

impl Tape {
    /// Records RMSNorm over the last extent of `x`; `gamma` is a vector of that width. The result's element type is
    /// `result`.
    pub fn rms_norm(&mut self, x: TensorId, gamma: TensorId, epsilon: f32, result: DType) -> TensorId {
        self.rms_norm_of(x, (gamma, None), false, epsilon, result).0
    }

    /// CRMSNorm over the last extent of `x`, which is one less than the width of the rows that it stands for.
    pub fn crms_norm(&mut self, x: TensorId, gamma: TensorId, epsilon: f32, result: DType) -> TensorId {
        self.rms_norm_of(x, (gamma, None), true, epsilon, result).0
    }

    /// RMSNorm with a state (t, c) `[2]`; returns y and r.
    pub fn tapered_rms_norm(
        &mut self,
        x: TensorId,
        gamma: TensorId,
        taper: TensorId,
        epsilon: f32,
        result: DType,
    ) -> (TensorId, TensorId) {
        self.rms_norm_of(x, (gamma, Some(taper)), false, epsilon, result)
    }

    fn rms_norm_of(
        &mut self,
        x: TensorId,
        (gamma, taper): (TensorId, Option<TensorId>),
        compressed: bool,
        epsilon: f32,
        result: DType,
    ) -> (TensorId, TensorId) {
        let dims = self.shape(x).dims().to_vec();
        let (rows, width) = self.shape(x).as_matrix();
        let info = self.info(gamma);
        assert_eq!(info.shape.dims(), [width], "rms_norm: {} for rows of {width}", info.name);
        let y = self.intermediate_of("norm", &dims, result);
        let rstd = self.intermediate("norm.rstd", &[rows]);
        let inputs: Vec<_> = [x, gamma].into_iter().chain(taper).collect();
        let form = Form { tapered: taper.is_some(), compressed };
        self.record(RmsNorm { epsilon, form }, &inputs, &[y, rstd]);
        (y, rstd)
    }
}

/// A kernel in which a team of lanes processes each row.
fn by_rows(
    (entry, form): (&'static str, Form),
    extents: (usize, usize),
    half: bool,
    device: &Traits,
    epsilon: Option<f32>,
    bindings: &[Binding],
) -> Recipe {
    let shared = Shared::of(entry, extents, device);
    let mut constants = shared.constants(extents);
    constants.extend(epsilon.map(|epsilon| ("EPSILON", f64::from(epsilon))));
    let images = by_images(extents, half, device);
    let addend = bindings.iter().any(|(name, _)| *name == "addend");
    let text = text([images, addend, half], form, shared.keep, &shared.vectors, shared.team.kind);
    let kernel = Kernel::new(text, entry, &constants);
    Recipe::one(kernel, &read_as(images, bindings), grid(shared.team.workgroups(extents.0)))
}

/// The shader's text. A lane keeps `keep` vectors of a row; with `half`, y and dy are f16.
fn text(
    [images, addend, half]: [bool; 3],
    form: Form,
    keep: usize,
    vectors: &Vectors,
    team: &str,
) -> Arc<str> {
    let numbers = [("lanes", element::LANES), ("keep", keep), ("vector", vectors.size)];
    let [own, narrow, texel] = stored(half, vectors);
    let texts = [("team", team.to_owned()), own, narrow, texel];
    let flags = [
        ("images", images),
        ("addend", addend),
        ("half", half),
        ("tapered", form.tapered),
        ("compressed", form.compressed),
    ];
    unroll(include_str!("../../shaders/rms_norm.wgsl"), &numbers, &flags, &texts)
}

impl Op for RmsNorm {
    fn stem(&self) -> &'static str {
        "rms_norm"
    }

    fn name(&self) -> &'static str {
        "rms_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [y, rstds] = outputs else { unreachable!("two outputs") };
        for (i, x) in inputs[0].chunks(width).enumerate() {
            let squares = x.iter().map(|v| v * v).sum::<f64>();
            let (sum, count) = self.form.left_out(x);
            let rstd = 1.0 / ((squares + sum * sum) / count + f64::from(self.epsilon)).sqrt();
            for (c, v) in x.iter().enumerate() {
                y[i * width + c] = v * factor(rstd, inputs.get(2)) * inputs[1][c];
            }
            rstds[i] = rstd;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward((self.form, width), self.epsilon, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("y", Operand::Output(0)),
            ("rstd", Operand::Output(1)),
        ];
        bindings.extend(self.form.tapered.then_some(("taper", Operand::Input(2))));
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_output(0));
        by_rows(("rms_norm", self.form), size, half, device, Some(self.epsilon), &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let Self { form, .. } = *self;
        let tapered = form.tapered;
        let [x, gamma] = [0, 1].map(|i| adjoint.input(i));
        let taper = tapered.then(|| adjoint.input(2));
        let rstd = adjoint.output(1);
        if adjoint.wants(1) {
            let d_gamma = adjoint.parameter_gradient(1);
            let inputs: Vec<_> = [x, rstd, dy].into_iter().chain(taper).collect();
            adjoint.tape.record(RmsNormParameters { tapered }, &inputs, &[d_gamma]);
        }
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            let inputs: Vec<_> = [x, gamma, rstd, dy].into_iter().chain(taper).collect();
            adjoint.tape.record(RmsNormBackward { form, addend: false }, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("rms_norm", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}

impl Op for RmsNormBackward {
    fn stem(&self) -> &'static str {
        "rms_norm"
    }

    fn name(&self) -> &'static str {
        "rms_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, rstds, dy, others @ ..] = inputs else { unreachable!("four inputs and more") };
        let (taper, addend) = others.split_at(usize::from(self.form.tapered));
        let gate = taper.first().map_or(1.0, |taper| taper[0]);
        for (i, &rstd) in rstds.iter().enumerate() {
            let row = i * width..(i + 1) * width;
            let xhat: Vec<f64> = x[row.clone()].iter().map(|v| v * rstd).collect();
            let g: Vec<f64> = dy[row.clone()].iter().zip(gamma.iter()).map(|(d, w)| d * w).collect();
            let (sum, count) = self.form.left_out(&x[row.clone()]);
            let along = g.iter().zip(&xhat).map(|(g, x)| g * x).sum::<f64>() / count;
            for (c, dx) in outputs[0][row.clone()].iter_mut().enumerate() {
                let past: f64 = addend.iter().map(|addend| addend[i * width + c]).sum();
                *dx =
                    past + factor(rstd, taper.first()) * g[c] - gate * rstd * (xhat[c] + sum * rstd) * along;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward((self.form, width), inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("known_rstd", Operand::Input(2)),
            ("dy", Operand::Input(3)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.form.tapered.then_some(("taper", Operand::Input(4))));
        bindings
            .extend(self.addend.then_some(("addend", Operand::Input(4 + usize::from(self.form.tapered)))));
        let (size, half) = (shapes.inputs[0].as_matrix(), shapes.half_input(3));
        by_rows(("rms_norm_backward", self.form), size, half, device, None, &bindings)
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true, ..*self }) as Arc<dyn Op>)
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        Some(Tuning::of(key("rms_norm_backward", shapes.inputs[0].as_matrix()), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        8 * shapes.input_elements(0) as u64
    }
}

impl Op for RmsNormParameters {
    fn stem(&self) -> &'static str {
        "rms_norm"
    }

    fn name(&self) -> &'static str {
        "rms_norm.parameters"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, rstds, dy, taper @ ..] = inputs else { unreachable!("three inputs and more") };
        for (i, d) in dy.iter().enumerate() {
            outputs[0][i % width] += d * x[i] * factor(rstds[i / width], taper.first());
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::parameters(width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, columns) = shapes.inputs[0].as_matrix();
        let vectors = Vectors::of(columns);
        let half = shapes.half_input(2);
        let images = by_images((rows, columns), half, device);
        let variants = parameter_variants(rows);
        let RowBlocks(block_rows) =
            Tuning::chosen(&key("rms_norm_parameters", (rows, columns)), &variants, device);
        let blocks = rows.div_ceil(block_rows);
        let form = Form { tapered: self.tapered, ..Form::default() };
        let text = text([images, false, half], form, 1, &vectors, Team::ALONE);
        let (width, blocks_f) = (("WIDTH", vectors.width as f64), ("BLOCKS", blocks as f64));
        let own = [width, blocks_f, ("ROWS", rows as f64), ("BLOCK_ROWS", block_rows as f64)];
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("known_rstd", Operand::Input(1)),
            ("dy", Operand::Input(2)),
            ("gamma_parts", Operand::Scratch(0)),
        ];
        bindings.extend(self.tapered.then_some(("taper", Operand::Input(3))));
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
        Recipe {
            dispatches: vec![parts, totals],
            scratch: vec![blocks * columns],
            iterations: block_rows.max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn tuning(&self, shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        let extents = shapes.inputs[0].as_matrix();
        Some(Tuning::of(key("rms_norm_parameters", extents), &parameter_variants(extents.0)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}
