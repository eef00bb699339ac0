//! Attention of a block: queries, keys and values of the normalized residual stream, their norms, positions and temperatures,
//! the attention itself, the entropy that is observed or trained, and the gate on the heads' values.

mod gate;
mod guided;
mod projection;
mod qk;
mod regularizer;
mod sink;
mod temperature;

pub(super) use regularizer::{loss_scale, losses};

use super::family::Positions;
use super::join::Bias;
use super::names;
use super::rows::Rows;
use super::site::{Linear, Matrix, Site};
use crate::observe::quantities::{
    HEAD_ENTROPY, LARGEST_LOGIT, LOGIT_VARIANCE, NONFINITE_ATTENTION, NORMALIZED_ENTROPY, RECENCY, SINK_MASS,
};
use crate::ops::attention_logits::QUANTITIES;
use crate::ops::packed::Packed;
use crate::tape::{Tape, TensorId};
use gate::Gate;
use projection::Projection;
use qk::Normed;
use regularizer::Regularizer;
use temperature::Temperature;

/// A declared attention.
pub(super) struct Attention {
    heads: usize,
    /// Columns at the start of each query and key head that rotary positions rotate, and the base of their angles.
    rotary: Option<(usize, f64)>,
    projection: Projection,
    normed: Normed,
    /// What Fixup adds before the first matrix and the last one.
    biases: [Bias; 2],
    gate: Gate,
    temperature: Temperature,
    regularizer: Regularizer,
    sinks: Option<TensorId>,
    /// The cap of the scores.
    cap: Option<f32>,
    /// The matrix that writes to the residual stream.
    pub last: Linear,
}

/// What an attention makes of the normalized residual stream.
#[derive(Clone, Copy)]
pub(super) struct Opened {
    qkv: TensorId,
    /// The scores of the gate, if there is one.
    gate: Option<TensorId>,
}

impl Attention {
    pub fn declare(site: &mut Site<'_>) -> Self {
        let (width, heads) = (site.config.n_embd, site.config.n_head);
        let rotary = site.config.family.positions == Positions::Rotary;
        Self {
            heads,
            rotary: rotary.then(|| site.config.rotary()),
            projection: Projection::declare(site),
            normed: Normed::declare(site),
            biases: ["bias_1a", "bias_2a"].map(|name| Bias::declare(site, "attention", name)),
            gate: Gate::declare(site),
            temperature: Temperature::declare(site),
            regularizer: Regularizer::declare(site),
            sinks: sink::declare(site),
            cap: (site.config.attention_softcap > 0.0).then_some(site.config.attention_softcap as f32),
            last: site.linear("attention.out", Matrix::ending(width, width)),
        }
    }

    /// The matrices of query, key and value, and of the output, in f32; nothing if the first are apart, or if they are scaled.
    pub fn matrices(&self, tape: &Tape) -> Option<[TensorId; 2]> {
        let packed = self.projection.packed()?;
        Some([packed.matrix(tape)?, self.last.matrix(tape)?])
    }

    /// Its matrices.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.projection.linears().iter().chain(self.gate.linear()).chain([&self.last])
    }

    /// Queries, keys and values of the normalized `x`, rotated by position if positions are rotary, and the gate's scores. The
    /// values are of `values`, if that is given.
    pub fn open(&self, tape: &mut Tape, rows: &Rows<'_>, x: TensorId, values: Option<TensorId>) -> Opened {
        let x = self.biases[0].apply(tape, x);
        let values = values.map(|values| self.biases[0].apply(tape, values));
        let gate = self.gate.open(tape, x);
        let qkv = self.projection.apply(tape, (x, values), self.heads);
        let qkv = self.normed.before_positions(tape, qkv, self.heads);
        match (self.rotary, rows) {
            (None, _) => {}
            (Some(turned), Rows::Sequences(pass)) => tape.rotary(qkv, self.heads, pass.sequence, turned),
            (Some(turned), Rows::Cached(cached)) => {
                tape.rotary_at(qkv, self.heads, (cached.positions, cached.context), turned);
            }
        }
        Opened { qkv: self.normed.behind_positions(tape, qkv, self.heads), gate }
    }

    /// The input of the last matrix: the heads' weighted values, through the gate if there is one.
    pub fn close(&self, tape: &mut Tape, rows: &Rows<'_>, layer: usize, opened: Opened) -> TensorId {
        let qkv = self.temperature.apply(tape, opened.qkv, rows);
        let heads = self.attend(tape, rows, layer, qkv);
        let heads = gate::close(tape, heads, opened.gate);
        self.biases[1].apply(tape, heads)
    }

    /// The heads' weighted values.
    fn attend(&self, tape: &mut Tape, rows: &Rows<'_>, layer: usize, qkv: TensorId) -> TensorId {
        match rows {
            Rows::Sequences(pass) => {
                let entropies = pass.entropy || self.regularizer.wants_entropy(pass);
                let heads = tape.capped_attention(qkv, self.heads, pass.sequence, entropies, self.cap);
                self.regularizer.apply(tape, pass, layer, heads.entropy);
                if let (true, Some(entropy)) = (pass.entropy, heads.entropy) {
                    let mean = tape.observation(&names::head_entropy(layer), &[self.heads]);
                    let nonfinite = tape.observation(&names::nonfinite(layer), &[self.heads]);
                    tape.watch(mean, &HEAD_ENTROPY, layer, 0..self.heads);
                    tape.watch(nonfinite, &NONFINITE_ATTENTION, layer, 0..self.heads);
                    tape.head_entropy(entropy, mean, nonfinite, 1.0 / pass.micro_batches as f32);
                }
                if pass.layers {
                    tape.observing(|tape| {
                        let out =
                            tape.observation(&names::attention_logits(layer), &[QUANTITIES * self.heads]);
                        let rows = [&LARGEST_LOGIT, &LOGIT_VARIANCE, &SINK_MASS, &RECENCY];
                        for (place, quantity) in rows.into_iter().chain(NORMALIZED_ENTROPY).enumerate() {
                            tape.watch(out, quantity, layer, place * self.heads..(place + 1) * self.heads);
                        }
                        tape.attention_logits(qkv, heads.lse, self.cap, out);
                    });
                }
                if let Some(sinks) = self.sinks {
                    tape.attention_sink(heads, sinks);
                }
                heads.output
            }
            Rows::Cached(cached) => {
                let (_, columns) = tape.shape(qkv).as_matrix();
                let kept = Packed::of(columns, self.heads, 4).kept().len();
                let cache = tape.observation(&names::cache(layer), &[cached.context, kept]);
                tape.cached_attention(qkv, cached.positions, cache, self.heads, (self.sinks, self.cap))
            }
        }
    }
}
