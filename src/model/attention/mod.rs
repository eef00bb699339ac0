//! Attention of a block: queries, keys and values of the normalized residual stream, their positions and temperatures,
//! the attention itself, and the entropy that is observed or trained.

mod guided;
mod regularizer;
mod temperature;

pub(super) use regularizer::{loss_scale, losses};

use super::family::Positions;
use super::names;
use super::rows::Rows;
use super::site::{Linear, Matrix, Site};
use crate::observe::quantities::{
    HEAD_ENTROPY, LARGEST_LOGIT, LOGIT_VARIANCE, NONFINITE_ATTENTION, RECENCY, SINK_MASS,
};
use crate::ops::attention_logits::QUANTITIES;
use crate::ops::packed::Packed;
use crate::tape::{Tape, TensorId};
use regularizer::Regularizer;
use temperature::Temperature;

/// A declared attention.
pub(super) struct Attention {
    heads: usize,
    /// Columns at the start of each query and key head that rotary positions rotate.
    rotary: Option<usize>,
    packed: Linear,
    temperature: Temperature,
    regularizer: Regularizer,
    /// The matrix that writes to the residual stream.
    pub last: Linear,
}

impl Attention {
    pub fn declare(site: &mut Site<'_>) -> Self {
        let (width, heads) = (site.config.n_embd, site.config.n_head);
        let rotary = site.config.family.positions == Positions::Rotary;
        Self {
            heads,
            rotary: rotary.then(|| site.config.rotary_columns()),
            packed: site
                .linear("attention.qkv", Matrix { heads: Some(heads), ..Matrix::new(width, 3 * width) }),
            temperature: Temperature::declare(site),
            regularizer: Regularizer::declare(site),
            last: site.linear("attention.out", Matrix::ending(width, width)),
        }
    }

    /// The matrices of query, key and value, and of the output, in f32.
    pub fn matrices(&self, tape: &Tape) -> [TensorId; 2] {
        [&self.packed, &self.last].map(|linear| linear.matrix(tape))
    }

    /// Queries, keys and values of the normalized `x`, rotated by position if positions are rotary.
    pub fn open(&self, tape: &mut Tape, rows: &Rows<'_>, x: TensorId) -> TensorId {
        let qkv = self.packed.apply(tape, x);
        match (self.rotary, rows) {
            (None, _) => {}
            (Some(columns), Rows::Sequences(pass)) => tape.rotary(qkv, self.heads, pass.sequence, columns),
            (Some(columns), Rows::Cached(cached)) => {
                tape.rotary_at(qkv, self.heads, (cached.positions, cached.context), columns);
            }
        }
        qkv
    }

    /// The input of the last matrix: the heads' weighted values.
    pub fn close(&self, tape: &mut Tape, rows: &Rows<'_>, layer: usize, qkv: TensorId) -> TensorId {
        let qkv = self.temperature.apply(tape, qkv, rows);
        match rows {
            Rows::Sequences(pass) => {
                let entropies = pass.entropy || self.regularizer.wants_entropy(pass);
                let heads = tape.attention(qkv, self.heads, pass.sequence, entropies);
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
                        for (place, quantity) in rows.into_iter().enumerate() {
                            tape.watch(out, quantity, layer, place * self.heads..(place + 1) * self.heads);
                        }
                        tape.attention_logits(qkv, heads.lse, out);
                    });
                }
                heads.output
            }
            Rows::Cached(cached) => {
                let (_, columns) = tape.shape(qkv).as_matrix();
                let kept = Packed::of(columns, self.heads, 4).kept().len();
                let cache = tape.observation(&names::cache(layer), &[cached.context, kept]);
                tape.cached_attention(qkv, cached.positions, cache, self.heads)
            }
        }
    }
}
