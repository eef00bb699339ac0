//! RMSNorm of each query and key head in packed rows: y = x·r·γ with r = 1/√(mean x² + ε) over the head's columns; values
//! pass unchanged. As in Henry et al. 2020 (arXiv 2010.04245) and, with RMSNorm and a gain for each column, in OLMo 2 and
//! Qwen3: it bounds the logits of attention by √width times the gains. In nGPT (arXiv 2410.01131), queries and keys share one gain
//! for each column of all heads, which counts times a constant.
//!
//! Shapes: x and y [R, 3·H·w] with columns q | k | v, in f32 or f16; r `[R, 2·H]`; the gains γ of queries and of keys `[w]`,
//! which all heads share; or one `[H·w]`, which queries and keys share; or none. Adjoint, with g = dy∘γ and x̂ = x·r: dx = r·(g − x̂·mean(g∘x̂)), and dγ += Σ dy∘x̂ over
//! rows and heads, summed in two stages in a fixed order.

mod cases;
mod gains;
mod host;

pub use cases::cases;
pub use gains::Gains;

use super::element::Elements;
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::packed::Packed;
use crate::tape::{Adjoint, Io, Tape, TensorId};

/// The op. Inputs: x and, if there are gains, those of queries and of keys, or the one of both. Outputs: y, r.
#[derive(Clone, Debug)]
pub struct QkNorm {
    pub heads: usize,
    pub epsilon: f32,
    /// What a shared gain is multiplied by.
    pub scale: f32,
}

/// dx of [`QkNorm`]. Inputs: x, r, dy and the gains, if there are any. Output: dx.
#[derive(Clone, Debug)]
pub struct QkNormBackward {
    pub heads: usize,
    pub scale: f32,
}

/// The gradients of the gains. Inputs: x, r, dy. Outputs: those of queries and of keys, or the one of both, to which it adds.
#[derive(Clone, Debug)]
pub struct QkNormGains {
    pub heads: usize,
    pub scale: f32,
}

impl Tape {
    /// Records the norm of each query and key head of `qkv` [R, 3·H·w].
    pub fn qk_norm(&mut self, qkv: TensorId, heads: usize, gains: Gains, epsilon: f32) -> TensorId {
        let (rows, columns) = self.shape(qkv).as_matrix();
        let packed = Packed::of(columns, heads, 4);
        let (vectors, width, scale) = match gains {
            Gains::None => (Vec::new(), packed.width, 1.0),
            Gains::Apart(gains) => (gains.to_vec(), packed.width, 1.0),
            Gains::Shared(gain, scale) => (vec![gain], packed.part(), scale),
        };
        for &gain in &vectors {
            let info = self.info(gain);
            assert_eq!(info.shape.dims(), [width], "qk_norm: {} for heads of it", info.name);
        }
        let y = self.intermediate_of("qk norm", &[rows, columns], self.info(qkv).dtype);
        let r = self.intermediate("qk norm.rstd", &[rows, 2 * heads]);
        let inputs: Vec<_> = [qkv].into_iter().chain(vectors).collect();
        self.record(QkNorm { heads, epsilon, scale }, &inputs, &[y, r]);
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

/// The bindings of so many gains, the first of which is that input.
fn gain_bindings(gains: usize, first: usize) -> Vec<Binding> {
    match gains {
        0 => Vec::new(),
        1 => vec![("shared_gain", Operand::Input(first))],
        _ => vec![("query_gain", Operand::Input(first)), ("key_gain", Operand::Input(first + 1))],
    }
}

/// The gain of a head's column, if there are any; heads count queries, then keys.
fn gain_at(packed: Packed, gains: &[&[f64]], scale: f32, head: usize, column: usize) -> f64 {
    match gains {
        [] => 1.0,
        [shared] => f64::from(scale) * shared[head % packed.heads * packed.width + column],
        apart => apart[head / packed.heads][column],
    }
}

/// A kernel of `qk_norm.wgsl`, with the constants that all kernels of whole rows share.
fn kernel(
    shapes: &Shapes<'_>,
    device: &Traits,
    heads: usize,
    gains: usize,
    (entry, own): (&'static str, &[(&'static str, f64)]),
) -> Kernel {
    let half = shapes.half_input(0);
    let images = Elements::of(shapes, device, &[0]).texels.is_some();
    let texts = [
        ("element", element::scalar(half)),
        ("narrow", element::narrow(half, 4)),
        ("texel", element::texel(half)),
    ];
    let flags = [("images", images), ("half", half), ("gains", gains > 1), ("shared", gains == 1)];
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
                    *y *= scale * gain_at(packed, &inputs[1..], self.scale, head, c);
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::forward(packed, self.epsilon, self.scale, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let gains = shapes.inputs.len() - 1;
        let mut own = vec![
            ("HEADS", self.heads as f64),
            ("PLACES", (rows * 3 * self.heads) as f64),
            ("EPSILON", f64::from(self.epsilon)),
        ];
        own.extend((gains == 1).then_some(("SCALE", f64::from(self.scale))));
        let kernel = kernel(shapes, device, self.heads, gains, ("qk_norm", &own));
        let x = Elements::of(shapes, device, &[0]).read(0);
        let mut bindings = vec![("x", x), ("y", Operand::Output(0)), ("r", Operand::Output(1))];
        bindings.extend(gain_bindings(gains, 1));
        let groups = element::lanes(rows * 3 * self.heads);
        Recipe::one(kernel, &bindings, groups).with_iterations(2 * packed.width / 4)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let Self { heads, scale, .. } = *self;
        let (x, r) = (adjoint.input(0), adjoint.output(1));
        let mut inputs = vec![x, r, dy];
        let gains = 1..adjoint.inputs();
        inputs.extend(gains.clone().map(|i| adjoint.input(i)));
        if gains.clone().any(|i| adjoint.wants(i)) {
            let gradients: Vec<_> = gains.map(|i| adjoint.parameter_gradient(i)).collect();
            adjoint.tape.record(QkNormGains { heads, scale }, &[x, r, dy], &gradients);
        }
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(QkNormBackward { heads, scale }, &inputs, &[dx]);
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
                    *g *= gain_at(packed, gains, self.scale, head, c);
                }
                let along = dx.iter().zip(x).map(|(g, x)| g * x * r).sum::<f64>() / packed.width as f64;
                dx.iter_mut().zip(x).for_each(|(g, x)| *g = r * (*g - x * r * along));
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::backward(packed, self.scale, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let gains = shapes.inputs.len() - 3;
        let mut own = vec![("HEADS", self.heads as f64), ("PLACES", (rows * 3 * self.heads) as f64)];
        own.extend((gains == 1).then_some(("SCALE", f64::from(self.scale))));
        let kernel = kernel(shapes, device, self.heads, gains, ("qk_norm_backward", &own));
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings = vec![
            ("x", elements.read(0)),
            ("known_r", Operand::Input(1)),
            ("dy", elements.read(2)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(gain_bindings(gains, 3));
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
                match &mut *outputs {
                    [shared] => shared[column % packed.part()] += f64::from(self.scale) * dy * xhat,
                    apart => apart[head / self.heads][column % packed.width] += dy * xhat,
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, packed) = extents(&io.shapes, self.heads);
        let (inputs, outputs) = io.split();
        host::gains(packed, self.scale, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (rows, packed) = extents(shapes, self.heads);
        let shared = shapes.outputs.len() == 1;
        // The vectors of all gradients.
        let columns = if shared { packed.part() / 4 } else { 2 * packed.width / 4 };
        let each = rows_each(rows);
        let blocks = rows.div_ceil(each);
        let elements = Elements::of(shapes, device, &[0]);
        let heads = ("HEADS", self.heads as f64);
        let own = [heads, ("ROWS", rows as f64), ("ROWS_EACH", each as f64), ("BLOCKS", blocks as f64)];
        let gains = usize::from(shared);
        let entry = if shared { "shared_parts" } else { "gain_parts" };
        let shares = Dispatch {
            kernel: kernel(shapes, device, self.heads, gains, (entry, &own)),
            bindings: vec![
                ("x", elements.read(0)),
                ("known_r", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: element::lanes(blocks * columns),
        };
        let mut bindings = vec![("parts", Operand::Scratch(0))];
        let (entry, own) = if shared {
            bindings.push(("d_shared", Operand::Output(0)));
            let scale = ("SCALE", f64::from(self.scale));
            ("shared_totals", vec![heads, ("BLOCKS", blocks as f64), scale])
        } else {
            bindings.extend([("d_query", Operand::Output(0)), ("d_key", Operand::Output(1))]);
            ("gain_totals", vec![("BLOCKS", blocks as f64)])
        };
        let totals = Dispatch {
            kernel: kernel(shapes, device, self.heads, gains, (entry, &own)),
            bindings,
            groups: element::lanes(columns),
        };
        Recipe {
            dispatches: vec![shares, totals],
            scratch: vec![4 * blocks * columns],
            iterations: (each * self.heads.max(2)).max(blocks),
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (3 * shapes.input_elements(0) * 2 / 3) as u64
    }
}
