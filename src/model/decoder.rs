//! The decoder, whatever its family: from tokens through its blocks to the loss, or to what comes next.

use super::block::{Block, Cached, Normalize, Rows, remade_if, slope};
use super::guidance::{loss_scale, losses};
use super::naming::Naming;
use super::{Pass, Reading, Recorded, names};
use crate::config::{ModelConfig, Norm, Precision, Recompute, SlopeScope};
use crate::ops::cross_entropy::Targets;
use crate::ops::magnitudes::WITH_MEDIAN;
use crate::tape::{DType, Tape, TensorId};

/// A declared model.
pub(super) struct Decoder {
    /// The token table.
    pub tokens: TensorId,
    /// The position table, where positions are learned; else they are rotary.
    pub positions: Option<TensorId>,
    pub blocks: Vec<Block>,
    /// Attention and feed-forward network stand beside each other, not one behind the other.
    pub parallel: bool,
    pub final_norm: Normalize,
    /// The matrix that has a row for each token, as the head reads it.
    pub head: TensorId,
}

impl Decoder {
    /// Declares what every family has between its embedding and its head.
    pub fn inside(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        naming: &Naming,
    ) -> (Vec<Block>, Normalize) {
        let one = config.activation_function.learns() && config.slope_scope == SlopeScope::Shared;
        let shared = one.then(|| {
            let slope = slope(config).watched(names::SLOPES, 0..1, 0..config.n_layer);
            tape.declare_parameter(naming.shared_slope, &[1], slope)
        });
        let block = |layer| Block::declare(tape, config, precision, (naming, layer), shared);
        let blocks = (0..config.n_layer).map(block).collect();
        let norm = match config.final_norm {
            true if config.norm == Norm::NONE => Norm::LAYER_NORM,
            true => config.norm,
            false => Norm::NONE,
        };
        (blocks, Normalize::declare(tape, config, precision, norm, (naming.final_norm, None)))
    }

    /// Records the loss on whole sequences, in training with its gradient.
    pub fn record(&self, mut tape: Tape, config: &ModelConfig, pass: &Pass) -> Recorded {
        let x = self.embed(&mut tape, config, pass);
        let x = self.through(&mut tape, config, pass, x);
        let loss = self.loss(&mut tape, pass, x);
        if pass.training {
            if pass.micro_batches == 1 {
                tape.overwrite_gradients();
            }
            let losses = losses(&tape, config, loss);
            tape.backward_of(&losses);
        }
        Recorded { tape, loss }
    }

    /// Records what reads single rows for generation.
    pub fn record_reading(&self, mut tape: Tape, config: &ModelConfig, reading: &Reading) -> Tape {
        tape.fix_parameters();
        let tokens = tape.input(names::TOKENS, &[reading.rows], DType::U32);
        let positions = tape.input(names::POSITIONS, &[reading.rows], DType::U32);
        let cached = Cached { positions, context: config.n_positions };
        tape.enter("embedding");
        let mut x = tape.gather(tokens, self.tokens);
        if let Some(table) = self.positions {
            let position = tape.gather(positions, table);
            x = tape.add(x, position);
        }
        for (layer, block) in self.blocks.iter().enumerate() {
            x = self.forward(&mut tape, config, &Rows::Cached(&cached), (layer, block), x);
        }
        if reading.logits {
            tape.enter("head");
            let x = self.final_norm.apply(&mut tape, x);
            let logits = tape.observation(names::LOGITS, &[config.vocab_size]);
            tape.head_logits(x, self.head, logits, reading.piece_bytes);
        }
        tape
    }

    /// The residual stream's start: rows of the token table, with those of the positions where there are such.
    fn embed(&self, tape: &mut Tape, config: &ModelConfig, pass: &Pass) -> TensorId {
        let places = pass.batch * pass.sequence;
        let tokens = tape.input(names::TOKENS, &[places], DType::U32);
        let sorted = tape.input(names::SORTED, &[places], DType::U32);
        let segments = tape.input(names::SEGMENTS, &[places + 1], DType::U32);
        tape.enter("embedding");
        let mut x = tape.embedding(tokens, sorted, segments, self.tokens, self.positions, pass.sequence);
        if pass.training && config.embd_pdrop > 0.0 {
            let key = tape.input(names::DROPOUT_KEY, &[4], DType::U32);
            x = tape.dropout(x, config.embd_pdrop, key);
        }
        x
    }

    /// `x` after all blocks.
    fn through(&self, tape: &mut Tape, config: &ModelConfig, pass: &Pass, mut x: TensorId) -> TensorId {
        for (layer, block) in self.blocks.iter().enumerate() {
            let again = pass.recompute == Recompute::Block;
            let rows = Rows::Sequences(pass);
            x = remade_if(again, tape, |tape| self.forward(tape, config, &rows, (layer, block), x));
            if pass.layers {
                tape.observing(|tape| {
                    let residual = tape.observation(&names::residual(layer), &[WITH_MEDIAN]);
                    tape.magnitudes(x, residual);
                });
            }
        }
        x
    }

    fn forward(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        rows: &Rows<'_>,
        (layer, block): (usize, &Block),
        x: TensorId,
    ) -> TensorId {
        match self.parallel {
            true => block.forward_in_parallel(tape, config, rows, layer, x),
            false => block.forward(tape, config, rows, layer, x),
        }
    }

    /// The head on the normalized `x`, and its loss.
    fn loss(&self, tape: &mut Tape, pass: &Pass, x: TensorId) -> TensorId {
        let places = pass.batch * pass.sequence;
        tape.enter("head");
        let x = self.final_norm.apply(tape, x);
        let targets = tape.input(names::TARGETS, &[places], DType::U32);
        let scale = tape.input(names::SCALE, &[1], DType::F32);
        let scaling = loss_scale(tape, pass.precision);
        let loss = tape.observation(names::LOSS, &[1]);
        tape.head_cross_entropy(x, self.head, Targets { targets, scale, loss, scaling }, pass.piece_bytes);
        loss
    }
}
