//! RMSNorm of each query and key head in packed rows: y = x·r·γ with r = 1/√(mean x² + ε) over the head's columns; values
//! pass unchanged. As in Henry et al. 2020 (arXiv 2010.04245) and, with RMSNorm and a gain for each column, in OLMo 2 and
//! Qwen3: it bounds the logits of attention by √width times the gains.
//!
//! Shapes: x and y [R, 3·H·w] with columns q | k | v, in f32 or f16; r `[R, 2·H]`; the gains γ of queries and of keys `[w]`,
//! which all heads share, or none. Adjoint, with g = dy∘γ and x̂ = x·r: dx = r·(g − x̂·mean(g∘x̂)), and dγ += Σ dy∘x̂ over
//! rows and heads, summed in two stages in a fixed order.

mod cases;
mod host;

pub use cases::cases;

use super::element::Elements;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::packed::Packed;
use crate::tape::{Adjoint, Io, Tape, TensorId};

/// The op. Inputs: x and, if there are gains, those of queries and of keys. Outputs: y, r.
#[derive(Clone, Debug)]
pub struct QkNorm {
    pub heads: usize,
    pub epsilon: f32,
}

/// dx of [`QkNorm`]. Inputs: x, r, dy and the gains, if there are any. Output: dx.
#[derive(Clone, Debug)]
pub struct QkNormBackward {
    pub heads: usize,
}

/// The gradients of the gains. Inputs: x, r, dy. Outputs: those of queries and of keys, to which it adds.
#[derive(Clone, Debug)]
pub struct QkNormGains {
    pub heads: usize,
}

impl Tape {
    /// Records the norm of each query and key head of `qkv` [R, 3·H·w]. `gains` are vectors `[w]` of queries and of keys.
    pub fn qk_norm(
        &mut self,
        qkv: TensorId,
        heads: usize,
        gains: Option<[TensorId; 2]>,
        epsilon: f32,
    ) -> TensorId {
        let (rows, columns) = self.shape(qkv).as_matrix();
        let packed = Packed::of(columns, heads, 4);
        for gain in gains.into_iter().flatten() {
            let info = self.info(gain);
            assert_eq!(info.shape.dims(), [packed.width], "qk_norm: {} for heads of it", info.name);
        }
        let y = self.intermediate_of("qk norm", &[rows, columns], self.info(qkv).dtype);
        let r = self.intermediate("qk norm.rstd", &[rows, 2 * heads]);
        let inputs: Vec<_> = [qkv].into_iter().chain(gains.into_iter().flatten()).collect();
        self.record(QkNorm { heads, epsilon }, &inputs, &[y, r]);
        y
    }
}

/// Rows and their layout.
fn extents(shapes: &Shapes<'_>, heads: usize) -> (usize, Packed) {
    let (rows, columns) = shapes.inputs[0].as_matrix();
    (rows, Packed::of(columns, heads, 4))
}

/// Rows of a block in the first stage of the gains' gradient: at most 128 blocks, which one lane then adds up.
fn rows_each(rows: usize) -> usize {
    rows.div_ceil(128).max(8)
}

/// A kernel of `qk_norm.wgsl`, with the constants that all kernels of whole rows share.
fn kernel(
    shapes: &Shapes<'_>,
    device: &Traits,
    heads: usize,
    gains: bool,
    (entry, own): (&'static str, &[(&'static str, f64)]),
) -> Kernel {
    let half = shapes.half_input(0);
    let images = Elements::of(shapes, device, &[0]).texels.is_some();
    let texts = [
        ("element", element::scalar(half)),
        ("narrow", element::narrow(half, 4)),
        ("texel", element::texel(half)),
    ];
    let flags = [("images", images), ("half", half), ("gains", gains)];
    let numbers = [("lanes", element::LANES)];
    let text = unroll(include_str!("../../shaders/qk_norm.wgsl"), &numbers, &flags, &texts);
    let (_, packed) = extents(shapes, heads);
    let mut constants = vec![("COLUMNS", (packed.width / 4) as f64)];
    constants.extend(own);
    Kernel::new(text, entry, &constants)
}

impl Op for QkNorm {
    fn stem(&self) -> &'static str {
        "qk_norm"
    }

    fn name(&self) -> &'static str {
        "qk_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        let [y, r] = outputs else { unreachable!("two outputs") };
        y.copy_from_slice(inputs[0]);
        for (row, y) in y.chunks_exact_mut(packed.columns()).enumerate() {
            for (head, y) in y[packed.turned()].chunks_exact_mut(packed.width).enumerate() {
                let square = y.iter().map(|v| v * v).sum::<f64>() / packed.width as f64;
                let scale = 1.0 / (square + f64::from(self.epsilon)).sqrt();
                r[row * 2 * self.heads + head] = scale;
                for (c, y) in y.iter_mut().enumerate() {
                    *y *= scale * inputs.get(1 + head / self.heads).map_or(1.0, |gain| gain[c]);
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::forward(packed, self.epsilon, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let gains = shapes.inputs.len() > 1;
        let own = [
            ("HEADS", self.heads as f64),
            ("PLACES", (rows * 3 * self.heads) as f64),
            ("EPSILON", f64::from(self.epsilon)),
        ];
        let kernel = kernel(shapes, device, self.heads, gains, ("qk_norm", &own));
        let x = Elements::of(shapes, device, &[0]).read(0);
        let mut bindings = vec![("x", x), ("y", Operand::Output(0)), ("r", Operand::Output(1))];
        if gains {
            bindings.extend([("query_gain", Operand::Input(1)), ("key_gain", Operand::Input(2))]);
        }
        let groups = element::lanes(rows * 3 * self.heads);
        Recipe::one(kernel, &bindings, groups).with_iterations(2 * packed.width / 4)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let heads = self.heads;
        let (x, r) = (adjoint.input(0), adjoint.output(1));
        let mut inputs = vec![x, r, dy];
        if adjoint.inputs() > 1 {
            inputs.extend([1, 2].map(|i| adjoint.input(i)));
            if adjoint.wants(1) || adjoint.wants(2) {
                let gradients = [1, 2].map(|i| adjoint.parameter_gradient(i));
                adjoint.tape.record(QkNormGains { heads }, &[x, r, dy], &gradients);
            }
        }
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(QkNormBackward { heads }, &inputs, &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (4 * shapes.input_elements(0) * 2 / 3) as u64
    }
}

impl Op for QkNormBackward {
    fn stem(&self) -> &'static str {
        "qk_norm"
    }

    fn name(&self) -> &'static str {
        "qk_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        let [x, r, dy, gains @ ..] = inputs else { unreachable!("three inputs and more") };
        outputs[0].copy_from_slice(dy);
        for (row, dx) in outputs[0].chunks_exact_mut(packed.columns()).enumerate() {
            for (head, dx) in dx[packed.turned()].chunks_exact_mut(packed.width).enumerate() {
                let x = &x[row * packed.columns() + head * packed.width..][..packed.width];
                let r = r[row * 2 * self.heads + head];
                for (c, g) in dx.iter_mut().enumerate() {
                    *g *= gains.get(head / self.heads).map_or(1.0, |gain| gain[c]);
                }
                let along = dx.iter().zip(x).map(|(g, x)| g * x * r).sum::<f64>() / packed.width as f64;
                dx.iter_mut().zip(x).for_each(|(g, x)| *g = r * (*g - x * r * along));
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::backward(packed, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let gains = shapes.inputs.len() > 3;
        let own = [("HEADS", self.heads as f64), ("PLACES", (rows * 3 * self.heads) as f64)];
        let kernel = kernel(shapes, device, self.heads, gains, ("qk_norm_backward", &own));
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings = vec![
            ("x", elements.read(0)),
            ("known_r", Operand::Input(1)),
            ("dy", elements.read(2)),
            ("dx", Operand::Output(0)),
        ];
        if gains {
            bindings.extend([("query_gain", Operand::Input(3)), ("key_gain", Operand::Input(4))]);
        }
        let groups = element::lanes(rows * 3 * self.heads);
        Recipe::one(kernel, &bindings, groups).with_iterations(2 * packed.width / 4)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (8 * shapes.input_elements(0) * 2 / 3) as u64
    }
}

impl Op for QkNormGains {
    fn stem(&self) -> &'static str {
        "qk_norm"
    }

    fn name(&self) -> &'static str {
        "qk_norm.gains"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        let [x, r, dy] = inputs else { unreachable!("three inputs") };
        for (i, (x, dy)) in x.iter().zip(*dy).enumerate() {
            let (row, column) = (i / packed.columns(), i % packed.columns());
            let head = column / packed.width;
            if head < 2 * self.heads {
                let xhat = x * r[row * 2 * self.heads + head];
                outputs[head / self.heads][column % packed.width] += dy * xhat;
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::gains(packed, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let (each, columns) = (rows_each(rows), packed.width / 4);
        let blocks = rows.div_ceil(each);
        let elements = Elements::of(shapes, device, &[0]);
        let own = [
            ("HEADS", self.heads as f64),
            ("ROWS", rows as f64),
            ("ROWS_EACH", each as f64),
            ("BLOCKS", blocks as f64),
        ];
        let shares = Dispatch {
            kernel: kernel(shapes, device, self.heads, false, ("gain_parts", &own)),
            bindings: vec![
                ("x", elements.read(0)),
                ("known_r", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: element::lanes(2 * blocks * columns),
        };
        let totals = Dispatch {
            kernel: kernel(shapes, device, self.heads, false, ("gain_totals", &[("BLOCKS", blocks as f64)])),
            bindings: vec![
                ("parts", Operand::Scratch(0)),
                ("d_query", Operand::Output(0)),
                ("d_key", Operand::Output(1)),
            ],
            groups: element::lanes(2 * columns),
        };
        Recipe {
            dispatches: vec![shares, totals],
            scratch: vec![2 * blocks * packed.width],
            iterations: (each * self.heads).max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (3 * shapes.input_elements(0) * 2 / 3) as u64
    }
}
