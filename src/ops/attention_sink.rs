//! A learned logit for each head in the denominator of attention's softmax, without a value (as in gpt-oss; at zero it is the
//! "softmax off by one" of Miller 2023). With the scores s of a row, p_j = e^(s_j)/(e^b + Σ e^s), so the head's output is what it
//! is without the sink, times σ(lse − b). Therefore no kernel of attention knows of it.
//!
//! Shapes: z [B·T, d], which the op changes in place from attention's output o to z = σ·o, in f32 or f16; lse [B, H, T]; b `[H]`.
//!
//! Adjoint, with σ of each row and head: do = σ·dz, db = −Σ (1 − σ)·(dz·z), summed in two stages in a fixed order. The scores get
//! ∂L/∂s_j = p_j·(do·v_j − do·o) + p_j·dlse with dlse = (1 − σ)·(dz·z), and do·o − dlse = dz·z − (1 − σ)·(dz·z) = do·z. So
//! attention's own adjoint is right if it reads z where it has o, as it does after an op in place.
//!
//! The entropies that attention measures are those of the weights over the keys without the sink, which sum to one.

mod host;

use super::element;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::ops::attention::Attended;
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: lse, b. Output: z, in place.
#[derive(Clone, Debug)]
struct AttentionSink;

/// Its adjoint. Inputs: z, lse, b, dz. Outputs: do, and db, which it adds to with `accumulate`.
#[derive(Clone, Debug)]
struct AttentionSinkBackward {
    accumulate: bool,
}

impl Tape {
    /// Records the sinks `[H]` of the heads whose results are `attended`; changes their output.
    pub fn attention_sink(&mut self, attended: Attended, sinks: TensorId) {
        let heads = self.shape(attended.lse).dims()[1];
        assert_eq!(self.shape(sinks).dims(), [heads], "attention_sink: {}", self.info(sinks).name);
        self.record(AttentionSink, &[attended.lse, sinks], &[attended.output]);
    }
}

/// σ(lse − b) and 1 − σ.
fn shares(lse: f64, sink: f64) -> (f64, f64) {
    let x = lse - sink;
    let e = (-x.abs()).exp();
    let (most, least) = (1.0 / (1.0 + e), e / (1.0 + e));
    if x < 0.0 { (least, most) } else { (most, least) }
}

/// Where heads lie.
#[derive(Clone, Copy, Debug)]
struct Extents {
    heads: usize,
    sequence: usize,
    rows: usize,
    /// Columns of a head.
    width: usize,
}

impl Extents {
    fn of(lse: &[usize], z: (usize, usize)) -> Self {
        let &[_, heads, sequence] = lse else { panic!("lse is [B, H, T]") };
        Self { heads, sequence, rows: z.0, width: z.1 / heads }
    }

    /// The place in lse of a head's row.
    fn line(self, row: usize, head: usize) -> usize {
        (row / self.sequence * self.heads + head) * self.sequence + row % self.sequence
    }

    /// The pieces of rows, each of one head: the place in lse and the head.
    fn pieces(self) -> impl Iterator<Item = (usize, usize)> {
        let pieces = move |row| (0..self.heads).map(move |head| (self.line(row, head), head));
        (0..self.rows).flat_map(pieces)
    }

    /// A kernel of `attention_sink.wgsl`.
    fn kernel(self, half: bool, entry: &'static str, own: &[(&'static str, f64)]) -> Kernel {
        let texts = [("element", element::scalar(half)), ("narrow", element::narrow(half, 4))];
        let shader = include_str!("../../shaders/attention_sink.wgsl");
        let text = unroll(shader, &element::WALK, &[("half", half)], &texts);
        let mut constants = vec![
            ("HEADS", self.heads as f64),
            ("SEQUENCE", self.sequence as f64),
            ("COLUMNS", (self.width / 4) as f64),
        ];
        constants.extend(own);
        Kernel::new(text, entry, &constants)
    }

    fn vectors(self) -> usize {
        self.rows * self.heads * self.width / 4
    }
}

impl Op for AttentionSink {
    fn stem(&self) -> &'static str {
        "attention_sink"
    }

    fn name(&self) -> &'static str {
        "attention_sink"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = Extents::of(io.input_shape(0).dims(), io.output_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        for (z, (line, head)) in outputs[0].chunks_exact_mut(extents.width).zip(extents.pieces()) {
            let (share, _) = shares(inputs[0][line], inputs[1][head]);
            z.iter_mut().for_each(|z| *z *= share);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = Extents::of(io.input_shape(0).dims(), io.output_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        host::forward(extents, [inputs[0], inputs[1]], outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let extents = Extents::of(shapes.inputs[0].dims(), shapes.outputs[0].as_matrix());
        let own = [("VECTORS", extents.vectors() as f64)];
        let kernel = extents.kernel(shapes.half_output(0), "attention_sink", &own);
        let bindings = [("lse", Operand::Input(0)), ("sinks", Operand::Input(1)), ("z", Operand::Output(0))];
        Recipe::one(kernel, &bindings, element::walk(extents.vectors()))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dz) = adjoint.gradient(0) else { return };
        let (z, lse, sinks) = (adjoint.output(0), adjoint.input(0), adjoint.input(1));
        let (d_sinks, accumulate) = adjoint.begin_gradient(1);
        let before = adjoint.replace_gradient(0);
        adjoint.tape.record(AttentionSinkBackward { accumulate }, &[z, lse, sinks, dz], &[before, d_sinks]);
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (shapes.output_elements(0) + 4 * shapes.input_elements(0)) as u64
    }
}

impl Op for AttentionSinkBackward {
    fn stem(&self) -> &'static str {
        "attention_sink"
    }

    fn name(&self) -> &'static str {
        "attention_sink.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = Extents::of(io.input_shape(1).dims(), io.input_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        let [z, lse, sinks, dz] = inputs else { unreachable!("four inputs") };
        if !self.accumulate {
            outputs[1].fill(0.0);
        }
        for (piece, (line, head)) in extents.pieces().enumerate() {
            let own = piece * extents.width..(piece + 1) * extents.width;
            let (share, rest) = shares(lse[line], sinks[head]);
            let along = z[own.clone()].iter().zip(&dz[own.clone()]).map(|(z, dz)| z * dz).sum::<f64>();
            outputs[1][head] -= rest * along;
            outputs[0][own.clone()].iter_mut().zip(&dz[own]).for_each(|(to, dz)| *to = share * dz);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = Extents::of(io.input_shape(1).dims(), io.input_shape(0).as_matrix());
        let (inputs, outputs) = io.split();
        host::backward(extents, self.accumulate, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let extents = Extents::of(shapes.inputs[1].dims(), shapes.inputs[0].as_matrix());
        let half = shapes.half_input(0);
        // At most 256 blocks of rows, which one lane then adds up.
        let each = extents.rows.div_ceil(256).max(8);
        let blocks = extents.rows.div_ceil(each);
        let scaled = Dispatch {
            kernel: extents.kernel(half, "scaled_gradient", &[("VECTORS", extents.vectors() as f64)]),
            bindings: vec![
                ("lse", Operand::Input(1)),
                ("sinks", Operand::Input(2)),
                ("dz", Operand::Input(3)),
                ("before", Operand::Output(0)),
            ],
            groups: element::walk(extents.vectors()),
        };
        let own = [("ROWS", extents.rows as f64), ("ROWS_EACH", each as f64), ("BLOCKS", blocks as f64)];
        let shares = Dispatch {
            kernel: extents.kernel(half, "sink_parts", &own),
            bindings: vec![
                ("known_z", Operand::Input(0)),
                ("lse", Operand::Input(1)),
                ("sinks", Operand::Input(2)),
                ("dz", Operand::Input(3)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: element::lanes(blocks * extents.heads),
        };
        let text = extents.kernel(half, "sink_total", &[]).text;
        let own = [
            ("HEADS", extents.heads as f64),
            ("BLOCKS", blocks as f64),
            ("ACCUMULATE", f64::from(u8::from(self.accumulate))),
        ];
        let total = Dispatch {
            kernel: Kernel::new(text, "sink_total", &own),
            bindings: vec![("parts", Operand::Scratch(0)), ("d_sinks", Operand::Output(1))],
            groups: element::lanes(extents.heads),
        };
        Recipe {
            dispatches: vec![scaled, shares, total],
            scratch: vec![blocks * extents.heads],
            iterations: (each * (1 + extents.width / 4)).max(blocks),
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1 && self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

/// Attention with sinks below, among and above its scores; one row and many; a gradient at the entropy as well.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, heads, sequence, width, dtype, guided) in [
        (1, 1, 1, 4, DType::F32, false),
        (2, 3, 7, 20, DType::F32, false),
        (2, 2, 33, 32, DType::F32, true),
        (1, 4, 70, 16, DType::F32, false),
        (2, 3, 7, 20, DType::F16, false),
        (1, 2, 33, 64, DType::F16, true),
    ] {
        let label = format!("B={batch} H={heads} T={sequence} d={width} {dtype:?} guided {guided}");
        let mut case = CaseBuilder::new("attention_sink", label, seed);
        if heads == 4 || width == 64 {
            // As in a step of one micro-batch.
            case.tape.overwrite_gradients();
        }
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(1.0));
        let sinks = case.parameter("sinks", &[heads], Fill::Normal(1.0));
        case.set(sinks, [0.5, -3.0, 4.0, 0.0][..heads].to_vec());
        let attended = case.tape.attention(qkv, heads, sequence, guided);
        case.tape.attention_sink(attended, sinks);
        let seeded: Vec<_> = [attended.output].into_iter().chain(attended.entropy).collect();
        // As for attention, and a few roundings more; sums over rows and columns of both signs.
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 6e-6 };
        let mut case = case.finish(&seeded, &[attended.lse], bound);
        let gradient = case.tape.known_gradient(sinks).expect("sinks have a gradient");
        // A sum of many terms of both signs can be near zero by chance: a start value of the terms' scale keeps the magnitude
        // up; where it is overwritten, nothing reads it.
        for (tensor, values) in &mut case.values {
            if *tensor == gradient {
                values.fill(10.0);
            }
        }
        cases.push(case);
    }
    cases
}
