//! What every family has around its blocks: the embedding, the walk through the blocks, the head and its loss.

use super::block::{Block, Normalization, remade_if};
use super::naming::Naming;
use super::{Pass, Recorded, names};
use crate::config::{Activation, ModelConfig, Precision, Recompute, SlopeScope};
use crate::ops::cross_entropy::Targets;
use crate::ops::magnitudes::WITH_MEDIAN;
use crate::tape::{DType, Tape, TensorId};

/// A tape of what `forward` records, which returns the loss; in training with its gradient.
pub(super) fn recorded(pass: &Pass, forward: impl FnOnce(&mut Tape) -> TensorId) -> Recorded {
    let mut tape = Tape::new();
    let loss = forward(&mut tape);
    if pass.training {
        if pass.micro_batches == 1 {
            tape.overwrite_gradients();
        }
        tape.backward(loss);
    }
    Recorded { tape, loss }
}

/// Declares the slope of the whole model, where there is such.
pub(super) fn shared_slope(tape: &mut Tape, config: &ModelConfig, naming: &Naming) -> Option<TensorId> {
    let learned = config.activation_function == Activation::LearnableLrelu;
    let one = learned && config.slope_scope == SlopeScope::Shared;
    one.then(|| tape.parameter(naming.shared_slope, &[1]))
}

/// The residual stream's start: rows of the token table, with those of `positions` where there are such.
pub(super) fn embed(
    tape: &mut Tape,
    config: &ModelConfig,
    pass: &Pass,
    table: TensorId,
    positions: Option<TensorId>,
) -> TensorId {
    let places = pass.batch * pass.sequence;
    let tokens = tape.input(names::TOKENS, &[places], DType::U32);
    let sorted = tape.input(names::SORTED, &[places], DType::U32);
    let segments = tape.input(names::SEGMENTS, &[places + 1], DType::U32);
    tape.enter("embedding");
    let mut x = tape.embedding(tokens, sorted, segments, table, positions, pass.sequence);
    if pass.training && config.embd_pdrop > 0.0 {
        let key = tape.input(names::DROPOUT_KEY, &[4], DType::U32);
        x = tape.dropout(x, config.embd_pdrop, key);
    }
    x
}

/// `x` after all blocks, each recorded by `forward` with its number.
pub(super) fn through(
    tape: &mut Tape,
    pass: &Pass,
    blocks: &[Block],
    mut x: TensorId,
    forward: impl Fn(&mut Tape, &Block, usize, TensorId) -> TensorId,
) -> TensorId {
    for (layer, block) in blocks.iter().enumerate() {
        let again = pass.recompute == Recompute::Block;
        x = remade_if(again, tape, |tape| forward(tape, block, layer, x));
        if pass.layers {
            tape.observing(|tape| {
                let residual = tape.observation(&names::residual(layer), &[WITH_MEDIAN]);
                tape.magnitudes(x, residual);
            });
        }
    }
    x
}

/// The head, whose matrix has a row for each token, on the normalized `x`; returns the loss.
pub(super) fn head(
    tape: &mut Tape,
    pass: &Pass,
    final_norm: &Normalization,
    matrix: TensorId,
    x: TensorId,
) -> TensorId {
    let places = pass.batch * pass.sequence;
    tape.enter("head");
    let x = final_norm.apply(tape, x);
    let targets = tape.input(names::TARGETS, &[places], DType::U32);
    let scale = tape.input(names::SCALE, &[1], DType::F32);
    let mixed = pass.precision == Precision::Mixed;
    let scaling = mixed.then(|| tape.input(names::SCALING, &[4], DType::F32));
    let loss = tape.observation(names::LOSS, &[1]);
    tape.tied_cross_entropy(x, matrix, Targets { targets, scale, loss, scaling }, pass.piece_bytes);
    loss
}
