//! What the logits and weights of every attention head look like: the largest logit, how far logits spread, how much a head
//! attends to the first position and to the latest ones, and how its entropy depends on the query's position.
//!
//! Capped logits count as they are after the cap. For each head, over the B·T queries i with logits s_ij = q_i·k_j/√width of the keys j ≤ i, and weights p_ij = e^(s_ij − lse_i):
//! - largest: max s_ij, which attention entropy collapse drives up (Zhai et al., arXiv 2303.06296);
//! - spread: the mean over queries of the variance of s_ij over j;
//! - sink: the mean of p_i0, the mass on the first position (Xiao et al., arXiv 2309.17453);
//! - recency: the mean of Σ p_ij over the latest [`RECENT`] keys, j > i − 16;
//! - the normalized entropy of each quarter of the context: the mean of H_i / ln(i + 1) over its queries, where H_i = Σ p_ij (lse_i − s_ij) is
//!   the entropy and ln(i + 1) is the largest that i + 1 keys allow. The query of position 0, which sees one key, does not
//!   count; a quarter without others is 0.
//!
//! Shapes: qkv [B·T, 3·d] with columns q | k | v, in f32 or f16; lse [B, H, T] as attention gives it; out `[8·H]`, quantity by
//! quantity. NaN where a row of the head has an lse that is not finite. An observation: it computes the logits again and has no
//! adjoint. The order of addition is fixed.

mod host;

use super::attention::capped;
use super::packed::{Packed, Part};
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, axis, element};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{DType, Io, Tape, TensorId};

/// Quantities of each head, in the order of `out`.
pub const QUANTITIES: usize = 4 + QUARTERS;
/// Equal parts of the context whose queries are taken together.
pub const QUARTERS: usize = 4;
/// Keys that count as the latest.
pub const RECENT: usize = 16;

/// The op; see the module's documentation.
#[derive(Clone, Debug)]
struct AttentionLogits {
    /// The cap of the scores.
    cap: Option<f32>,
}

impl Tape {
    /// Records the statistics of the heads of `qkv` [B·T, 3·d], whose attention has the given `lse` [B, H, T] and caps its scores
    /// at `cap`, if there is one, into `out` `[8·H]`.
    pub fn attention_logits(&mut self, qkv: TensorId, lse: TensorId, cap: Option<f32>, out: TensorId) {
        let extents = Extents::new(self.shape(qkv).as_matrix(), self.shape(lse).dims());
        let heads = extents.packed.heads;
        assert_eq!(self.shape(out).dims(), [QUANTITIES * heads], "attention_logits: {}", self.info(out).name);
        self.record(AttentionLogits { cap }, &[qkv, lse], &[out]);
    }
}

/// The layout of heads in packed rows.
#[derive(Clone, Copy)]
struct Extents {
    batch: usize,
    sequence: usize,
    packed: Packed,
}

impl Extents {
    fn new((rows, columns): (usize, usize), lse: &[usize]) -> Self {
        let &[batch, heads, sequence] = lse else { panic!("lse is [B, H, T], not {lse:?}") };
        assert_eq!(rows, batch * sequence, "attention_logits: rows of qkv");
        Self { batch, sequence, packed: Packed::of(columns, heads, 4) }
    }

    fn of(shapes: &Shapes<'_>) -> Self {
        Self::new(shapes.inputs[0].as_matrix(), shapes.inputs[1].dims())
    }

    fn scale(&self) -> f64 {
        1.0 / (self.packed.width as f64).sqrt()
    }

    /// The elements of `part` of head `h` in row `t` of sequence `b`.
    fn row(&self, (b, h): (usize, usize), t: usize, part: Part) -> std::ops::Range<usize> {
        let start = (b * self.sequence + t) * self.packed.columns();
        let own = self.packed.head(part, h);
        start + own.start..start + own.end
    }

    /// The index in lse of row `t`.
    fn line(&self, (b, h): (usize, usize), t: usize) -> usize {
        (b * self.packed.heads + h) * self.sequence + t
    }

    fn queries(&self) -> usize {
        self.batch * self.sequence
    }

    /// The quarter of the context that query `t` of a sequence is in.
    fn quarter(&self, t: usize) -> usize {
        QUARTERS * t / self.sequence
    }

    /// The queries over which `quantity`, other than the largest logit, is a mean.
    fn counted(&self, quantity: usize) -> usize {
        match quantity.checked_sub(QUANTITIES - QUARTERS) {
            None => self.queries(),
            Some(quarter) => {
                let own = (1..self.sequence).filter(|&t| self.quarter(t) == quarter).count();
                self.batch * own.max(1)
            }
        }
    }
}

/// Queries of a workgroup, one for each lane.
const LANES: usize = element::LANES;
/// Keys that a lane scores at a time.
const KEYS: usize = 8;
/// Numbers of a workgroup's queries: the quantities and the count of finite rows.
const SHARES: usize = QUANTITIES + 1;

impl Op for AttentionLogits {
    fn stem(&self) -> &'static str {
        "attention_logits"
    }

    fn name(&self) -> &'static str {
        "attention_logits"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let extents = Extents::of(&io.shapes);
        let (inputs, outputs) = io.split();
        let (qkv, lse) = (inputs[0], inputs[1]);
        let heads = extents.packed.heads;
        for h in 0..heads {
            let mut found = [0.0; QUANTITIES];
            found[0] = f64::NEG_INFINITY;
            for (b, i) in (0..extents.batch).flat_map(|b| (0..extents.sequence).map(move |i| (b, i))) {
                let query = &qkv[extents.row((b, h), i, Part::Query)];
                let score = |j: usize| -> f64 {
                    let key = &qkv[extents.row((b, h), j, Part::Key)];
                    let score = query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>() * extents.scale();
                    self.cap.map_or(score, |cap| capped(score, f64::from(cap)))
                };
                let scores: Vec<f64> = (0..=i).map(score).collect();
                let own = lse[extents.line((b, h), i)];
                let weight = |s: &f64| if own.is_finite() { (s - own).exp() } else { f64::NAN };
                let count = scores.len() as f64;
                let mean = scores.iter().sum::<f64>() / count;
                found[0] = scores.iter().copied().fold(found[0], f64::max);
                found[1] += scores.iter().map(|s| (s - mean).powi(2)).sum::<f64>() / count;
                found[2] += weight(&scores[0]);
                found[3] += scores.iter().rev().take(RECENT).map(weight).sum::<f64>();
                if i > 0 {
                    let entropy: f64 = scores.iter().map(|s| weight(s) * (own - s)).sum();
                    found[QUANTITIES - QUARTERS + extents.quarter(i)] += entropy / count.ln();
                }
            }
            let broken = found[2].is_nan();
            for (quantity, found) in found.into_iter().enumerate() {
                let value = if quantity == 0 { found } else { found / extents.counted(quantity) as f64 };
                outputs[0][quantity * heads + h] = if broken { f64::NAN } else { value };
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let extents = Extents::of(&io.shapes);
        let (inputs, outputs) = io.split();
        host::survey(&extents, self.cap, [inputs[0], inputs[1]], outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let extents = Extents::of(shapes);
        let Extents { batch, sequence, packed } = extents;
        let blocks = sequence.div_ceil(LANES);
        // Software drivers read images many times faster than buffers.
        let images = device.software && shapes.fits_image(0);
        let half = shapes.half_input(0);
        let text = unroll(
            include_str!("../../shaders/attention_logits.wgsl"),
            &[
                ("lanes", LANES),
                ("keys", KEYS),
                ("recent", RECENT),
                ("quarters", QUARTERS),
                ("numbers", SHARES),
            ],
            &[("images", images), ("half", half), ("capped", self.cap.is_some())],
            &[("element", element::scalar(half)), ("texel", element::texel(half))],
        );
        let kernel = |entry, constants: &[(&'static str, f64)]| Kernel {
            text: text.clone(),
            entry,
            constants: constants.to_vec(),
        };
        let parts = batch * blocks;
        let heads = ("HEADS", packed.heads as f64);
        let mut constants = vec![
            heads,
            ("SEQUENCE", sequence as f64),
            ("COLUMNS", (packed.width / 4) as f64),
            ("SCALE", extents.scale()),
            ("BLOCKS", blocks as f64),
        ];
        constants.extend(self.cap.map(|cap| ("CAP", f64::from(cap))));
        let survey = kernel("survey", &constants);
        let finish = kernel(
            "finish",
            &[
                heads,
                ("PARTS", parts as f64),
                ("QUERIES", extents.queries() as f64),
                ("SEQUENCE", sequence as f64),
            ],
        );
        let shares = ("shares", Operand::Scratch(0));
        let qkv = if images { Operand::InputImage(0) } else { Operand::Input(0) };
        let dispatches = vec![
            Dispatch {
                kernel: survey,
                bindings: vec![("qkv", qkv), ("lse", Operand::Input(1)), shares],
                groups: [axis(packed.heads), axis(blocks), axis(batch)],
            },
            Dispatch {
                kernel: finish,
                bindings: vec![shares, ("out", Operand::Output(0))],
                groups: [axis(packed.heads), 1, 1],
            },
        ];
        let iterations = (sequence.div_ceil(KEYS) * (packed.width / 4)).max(parts);
        Recipe { dispatches, scratch: vec![parts * packed.heads * SHARES], iterations }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        let Extents { batch, sequence, packed } = Extents::of(shapes);
        let pairs = (batch * packed.heads * sequence * (sequence + 1) / 2) as u64;
        pairs * (2 * packed.width as u64 + 11)
    }
}

/// Sequences of one, shorter than the latest keys, of several blocks; every kind of width; large logits, which cancel in the
/// variance; a row that is not finite; f16.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, heads, sequence, width, spread, half, broken) in [
        (1, 1, 1, 4, 1.0, false, false),
        (2, 3, 7, 8, 1.0, false, false),
        (3, 2, 33, 20, 1.0, false, true),
        (2, 1, 130, 12, 1.0, false, false),
        (1, 2, 64, 32, 3.0, false, false),
        (1, 1, 17, 256, 1.0, false, false),
        (2, 2, 70, 32, 1.0, true, false),
        (1, 2, 40, 64, 1.0, true, false),
        (2, 2, 71, 32, 1.0, true, false),
        (1, 2, 64, 64, 1.0, true, false),
        (1, 2, 64, 64, 1.0, false, false),
    ] {
        let label = format!(
            "B={batch} H={heads} T={sequence} d={width} spread {spread}, f16 {half}, broken {broken}"
        );
        let mut case = CaseBuilder::new("attention_logits", label, seed);
        let dtype = if half { DType::F16 } else { DType::F32 };
        let shape = [batch * sequence, 3 * heads * width];
        let qkv = case.input_of("qkv", &shape, dtype, Fill::Normal(spread));
        if broken {
            let mut values = case.values(qkv).to_vec();
            values[heads * width] = f32::NAN; // of the first key of the first head
            case.set(qkv, values);
        }
        // In some cases the scores are capped, where that bends some of them.
        let cap = [7, 64, 71].contains(&sequence).then_some(2.0);
        let attended = case.tape.capped_attention(qkv, heads, sequence, false, cap);
        let out = case.observation("out", &[QUANTITIES * heads], 0.5);
        case.tape.attention_logits(qkv, attended.lse, cap, out);
        // Logits are off by 6e-8 of their size, about spread², and weights by as much of themselves; variances are differences
        // of squares around one of the logits, which is a few deviations away.
        let bound = if half { HALF_BOUND } else { 4e-6 * f64::max(1.0, spread * spread) };
        cases.push(case.finish(&[], &[], bound));
    }
    cases
}
