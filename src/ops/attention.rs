//! Causal self-attention over packed rows, and the entropy of each attention row.
//!
//! For each batch element, head and query i, over the keys j <= i:
//! s_j = q_i . k_j / sqrt(width), p = softmax(s), output_i = sum_j p_j v_j,
//! lse_i = ln sum_j e^s_j, entropy_i = -sum_j p_j ln p_j (nats; Shannon 1948).
//!
//! Shapes: qkv [B*T, 3*d] with columns q | k | v, head h at columns h*width of each; output [B*T, d];
//! lse, entropy [B, H, T]. One pass over the keys (Milakov and Gimelshein 2018, Rabe and Staats 2021, Dao et
//! al. 2022): with the running maximum m, l = sum e^(s-m) and a = sum e^(s-m) (s-m), entropy = ln l - a/l.
//!
//! With a cap c, s_j is c·tanh of this over c, before anything else: see `attention/cap.rs`.
//!
//! If a score of a row is not finite, the row's lse and entropy are not finite either.
//!
//! Adjoint: [`AttentionBackward`], from the gradient at output and, if there is one, the gradient at entropy. No
//! gradient flows through lse.

mod backward;
mod blocks;
mod cap;
mod heads;
mod host;
mod pass;
mod text;
mod units;

pub use backward::AttentionBackward;
pub(crate) use cap::{capped, capped_f32};
pub use units::{UnitProbe, WIDTHS, unit_probe};

use super::{Op, Operand, Recipe, Shapes, Traits, Tuning};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::ops::packed::Part;
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use heads::Heads;
use pass::Pass;
use text::Variant;

/// The op; see the module's documentation.
#[derive(Clone, Debug)]
pub struct Attention {
    /// H.
    pub n_head: usize,
    /// T; rows are whole sequences.
    pub sequence: usize,
    /// Whether the third output exists.
    pub entropy: bool,
    /// The cap of the scores.
    pub cap: Option<f32>,
}

/// The results of [`Tape::attention`].
#[derive(Clone, Copy, Debug)]
pub struct Attended {
    /// [B*T, d].
    pub output: TensorId,
    /// [B, H, T]; log of the sum of e^score.
    pub lse: TensorId,
    /// [B, H, T], in nats.
    pub entropy: Option<TensorId>,
}

impl Tape {
    /// Records causal attention of `qkv` [B*T, 3*d] with `n_head` heads over sequences of `sequence` rows.
    ///
    /// The width of a head, d / n_head, is a multiple of 4 and at most 256. Without `entropy`, no kernel computes or
    /// stores it. The output has the element type of `qkv`; lse and entropy are f32.
    pub fn attention(&mut self, qkv: TensorId, n_head: usize, sequence: usize, entropy: bool) -> Attended {
        self.capped_attention(qkv, n_head, sequence, entropy, None)
    }

    /// The same with scores that are capped at `cap`, if there is one.
    pub fn capped_attention(
        &mut self,
        qkv: TensorId,
        n_head: usize,
        sequence: usize,
        entropy: bool,
        cap: Option<f32>,
    ) -> Attended {
        let (rows, columns) = self.shape(qkv).as_matrix();
        let dtype = self.info(qkv).dtype;
        let layout = Heads::new(rows, columns, n_head, sequence);
        let per_row = [layout.batch, n_head, sequence];
        let output = self.intermediate_of("attention", &[rows, layout.packed().part()], dtype);
        let lse = self.intermediate("attention.lse", &per_row);
        let entropy = entropy.then(|| self.intermediate("attention.entropy", &per_row));
        let op = Attention { n_head, sequence, entropy: entropy.is_some(), cap };
        let outputs: Vec<_> = [output, lse].into_iter().chain(entropy).collect();
        self.record(op, &[qkv], &outputs);
        Attended { output, lse, entropy }
    }
}

impl Attention {
    fn layout(&self, shapes: &Shapes<'_>) -> Heads {
        Heads::of(shapes, self.n_head, self.sequence).capped(self.cap)
    }
}

impl Op for Attention {
    fn stem(&self) -> &'static str {
        "attention"
    }

    fn name(&self) -> &'static str {
        "attention"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let layout = self.layout(&io.shapes);
        let (inputs, outputs) = io.split();
        let qkv = inputs[0];
        for head in layout.heads() {
            for i in 0..layout.sequence {
                let s = head.scores(qkv, i);
                let broken = s.iter().any(|s| !s.is_finite());
                let m = s.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let lse = m + s.iter().map(|s| (s - m).exp()).sum::<f64>().ln();
                let p: Vec<f64> = s.iter().map(|s| (s - lse).exp()).collect();
                let output = &mut outputs[0][head.out(i)];
                output.fill(0.0);
                for (j, p) in p.iter().enumerate() {
                    for (o, v) in output.iter_mut().zip(&qkv[head.packed(j, Part::Value)]) {
                        *o += p * v;
                    }
                }
                outputs[1][head.line(i)] = if broken { f64::NAN } else { lse };
                if self.entropy {
                    // p ln p is 0 if p underflows, because ln p = s - lse stays finite.
                    let nats = -p.iter().zip(&s).map(|(p, s)| p * (s - lse)).sum::<f64>();
                    outputs[2][head.line(i)] = if broken { f64::NAN } else { nats };
                }
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let layout = self.layout(&io.shapes);
        let (inputs, outputs) = io.split();
        host::forward(&layout, inputs[0], outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let layout = self.layout(shapes);
        let pass = Pass::Forward { entropy: self.entropy };
        let variant = Variant::chosen(&layout, device, &layout.key(self.name()));
        let mut bindings =
            vec![("qkv", Operand::Input(0)), ("output", Operand::Output(0)), ("lse", Operand::Output(1))];
        if self.entropy {
            bindings.push(("entropy", Operand::Output(2)));
        }
        Recipe {
            dispatches: vec![variant.dispatch(pass, &layout, bindings)],
            iterations: variant.iterations(&layout),
            ..Recipe::default()
        }
    }

    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        let layout = self.layout(shapes);
        Some(Tuning::of(layout.key(self.name()), &Variant::all(&layout, device)))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let d_entropy = self.entropy.then(|| adjoint.gradient(2)).flatten();
        let Some(d_output) = adjoint.gradient(0) else {
            assert!(
                d_entropy.is_none(),
                "attention whose entropy leads to a loss, and whose output does not"
            );
            return;
        };
        if !adjoint.wants(0) {
            return;
        }
        let guided = d_entropy.is_some();
        let op = AttentionBackward { n_head: self.n_head, sequence: self.sequence, guided, cap: self.cap };
        let mut inputs = vec![adjoint.input(0), adjoint.output(0), adjoint.output(1), d_output];
        if let Some(d_entropy) = d_entropy {
            inputs.extend([adjoint.output(2), d_entropy]);
        }
        let d_qkv = adjoint.fresh_like(0);
        adjoint.tape.record(op, &inputs, &[d_qkv]);
        adjoint.contribute(0, d_qkv);
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        let layout = self.layout(shapes);
        4 * layout.pairs() * layout.width as u64
    }
}

/// Sequences of one, of two, of prime lengths, and of lengths around a block of lanes; heads of every kind of width;
/// large logits.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, heads, sequence, width, spread) in [
        (1, 1, 1, 4, 1.0),
        (2, 3, 2, 8, 1.0),
        (3, 1, 7, 20, 1.0),
        (1, 2, 33, 32, 1.0),
        (2, 1, 130, 12, 1.0),
        (1, 2, 64, 64, 1.0),
        (1, 1, 17, 128, 1.0),
        (1, 1, 40, 16, 4.5),
        (1, 1, 9, 256, 1.0),
        (1, 1, 1024, 8, 1.0),
    ] {
        let label = format!("B={batch} H={heads} T={sequence} d={width} spread {spread}");
        let mut case = CaseBuilder::new("attention", label, seed);
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input("qkv", &shape, Fill::Normal(spread));
        let attended = case.tape.attention(qkv, heads, sequence, true);
        let watched: Vec<TensorId> = [attended.lse].into_iter().chain(attended.entropy).collect();
        // Scores have a rounding error of 6e-8 times their size, which is about spread²; it carries over to the
        // probabilities. In sums over the sequence it grows with the square root of the length.
        let bound = 2e-6 * f64::max(1.0, spread * spread) * f64::max(1.0, (sequence as f64 / 128.0).sqrt());
        cases.push(case.finish(&[attended.output], &watched, bound));
    }
    // Wider heads use the same text with more columns, which some drivers take a minute to compile.
    for (batch, heads, sequence, width, spread) in [
        (2, 3, 2, 8, 1.0),
        (3, 1, 7, 20, 1.0),
        (2, 1, 130, 12, 1.0),
        (1, 2, 64, 64, 1.0),
        (1, 1, 40, 16, 4.5),
    ] {
        let label = format!("guided B={batch} H={heads} T={sequence} d={width} spread {spread}");
        let mut case = CaseBuilder::new("attention", label, seed);
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input("qkv", &shape, Fill::Normal(spread));
        let attended = case.tape.attention(qkv, heads, sequence, true);
        let entropy = attended.entropy.expect("it was asked for");
        // As above; ln p, of a size up to about spread² ln T, is a factor of the entropy's gradient.
        let size = f64::max(1.0, spread * spread);
        let bound = 4e-6 * size * f64::max(1.0, (sequence as f64 / 128.0).sqrt());
        cases.push(case.finish(&[attended.output, entropy], &[attended.lse], bound));
    }
    for (batch, heads, sequence, width, spread) in [
        (2, 3, 2, 8, 1.0),
        (3, 1, 7, 20, 1.0),
        (2, 1, 130, 12, 1.0),
        (1, 2, 64, 64, 1.0),
        (1, 1, 17, 128, 1.0),
        (1, 1, 40, 16, 4.5),
    ] {
        let label = format!("f16 B={batch} H={heads} T={sequence} d={width} spread {spread}");
        let mut case = CaseBuilder::new("attention", label, seed);
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, DType::F16, Fill::Normal(spread));
        let attended = case.tape.attention(qkv, heads, sequence, true);
        let watched: Vec<TensorId> = [attended.lse].into_iter().chain(attended.entropy).collect();
        cases.push(case.finish(&[attended.output], &watched, HALF_BOUND));
    }
    // Evaluation does not compute the entropy.
    for (batch, heads, sequence, width) in [(3, 1, 7, 20), (1, 2, 33, 32), (1, 2, 64, 64)] {
        for dtype in [DType::F32, DType::F16] {
            let label = format!("no entropy, {dtype:?} B={batch} H={heads} T={sequence} d={width}");
            let mut case = CaseBuilder::new("attention", label, seed);
            let shape = [batch * sequence, 3 * heads * width];
            let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(1.0));
            let attended = case.tape.attention(qkv, heads, sequence, false);
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
            cases.push(case.finish(&[attended.output], &[attended.lse], bound));
        }
    }
    for (batch, heads, sequence, width) in [(3, 1, 7, 20), (1, 2, 64, 64)] {
        let label = format!("guided f16 B={batch} H={heads} T={sequence} d={width}");
        let mut case = CaseBuilder::new("attention", label, seed);
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, DType::F16, Fill::Normal(1.0));
        let attended = case.tape.attention(qkv, heads, sequence, true);
        let entropy = attended.entropy.expect("it was asked for");
        cases.push(case.finish(&[attended.output, entropy], &[attended.lse], HALF_BOUND));
    }
    // Capped scores, most of them where the cap bends them.
    for (batch, heads, sequence, width, dtype, guided) in [
        (2, 3, 2, 8, DType::F32, true),
        (3, 1, 7, 20, DType::F32, false),
        (2, 1, 130, 12, DType::F32, true),
        (1, 2, 64, 64, DType::F32, false),
        (1, 1, 9, 256, DType::F32, false),
        (1, 2, 64, 64, DType::F32, true),
        (3, 1, 7, 20, DType::F16, true),
        (3, 1, 7, 20, DType::F16, false),
        (1, 2, 64, 64, DType::F16, true),
        (1, 2, 64, 64, DType::F16, false),
        (1, 1, 17, 128, DType::F16, false),
    ] {
        let label = format!("capped B={batch} H={heads} T={sequence} d={width} {dtype:?} guided {guided}");
        let mut case = CaseBuilder::new("attention", label, seed);
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(1.3));
        let attended = case.tape.capped_attention(qkv, heads, sequence, true, Some(2.0));
        let entropy = attended.entropy.expect("it was asked for");
        let (seeded, watched) = match guided {
            true => (vec![attended.output, entropy], vec![attended.lse]),
            false => (vec![attended.output], vec![attended.lse, entropy]),
        };
        // As above; a cap adds a few roundings of numbers up to 2.
        let bound = if dtype == DType::F16 { HALF_BOUND } else { 8e-6 };
        cases.push(case.finish(&seeded, &watched, bound));
    }
    // Evaluation of the same does not compute the entropy.
    for (batch, heads, sequence, width) in [(3, 1, 7, 20), (1, 2, 33, 32), (1, 2, 64, 64)] {
        for dtype in [DType::F32, DType::F16] {
            let label = format!("capped, no entropy, {dtype:?} B={batch} H={heads} T={sequence} d={width}");
            let mut case = CaseBuilder::new("attention", label, seed);
            let shape = [batch * sequence, 3 * heads * width];
            let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(1.3));
            let attended = case.tape.capped_attention(qkv, heads, sequence, false, Some(2.0));
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 4e-6 };
            cases.push(case.finish(&[attended.output], &[attended.lse], bound));
        }
    }
    cases
}
