//! The GPT-2 family: learned positions, pre-norm blocks (or none), a head tied to the token table.
//!
//! x = dropout(wte[token] + wpe[position]); per block x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x);
//! logits = final_norm(x) · wteᵀ. The norm-free models of arXiv 2410.09637 keep the final norm.

use super::block::{Block, Normalization, operand};
use super::decoder::{embed, head, recorded, shared_slope, through};
use super::naming::Naming;
use super::{Pass, Recorded};
use crate::config::{Family, ModelConfig, Norm, Precision};
use crate::tape::{Tape, TensorId};

struct Gpt2 {
    tokens: TensorId,
    /// The token table as the head reads it.
    head: TensorId,
    positions: TensorId,
    blocks: Vec<Block>,
    final_norm: Normalization,
}

pub(super) fn record(config: &ModelConfig, pass: &Pass) -> Recorded {
    recorded(pass, |tape| {
        let model = Gpt2::declare(tape, config, pass.precision);
        let x = embed(tape, config, pass, model.tokens, Some(model.positions));
        let x = through(tape, pass, &model.blocks, x, |tape, block, layer, x| {
            block.forward(tape, config, pass, layer, x)
        });
        head(tape, pass, &model.final_norm, model.head, x)
    })
}

impl Gpt2 {
    /// Declares the parameters in the order of the Hugging Face file.
    fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Self {
        let naming = Naming::of(Family::Gpt2);
        let width = config.n_embd;
        let tokens = tape.parameter(&format!("{}.weight", naming.tokens), &[config.vocab_size, width]);
        let head = operand(tape, tokens, precision);
        let positions = tape.parameter("transformer.wpe.weight", &[config.n_positions, width]);
        let shared = shared_slope(tape, config, naming);
        let block = |layer| Block::declare(tape, config, precision, (naming, layer), shared);
        let blocks = (0..config.n_layer).map(block).collect();
        let norm = if config.final_norm { Norm::LayerNorm } else { Norm::None };
        let final_norm = Normalization::declare(tape, config, precision, norm, naming.final_norm);
        Self { tokens, head, positions, blocks, final_norm }
    }
}
