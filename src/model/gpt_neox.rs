//! The GPT-NeoX family, which Pythia is of (Black et al. 2022, arXiv 2204.06745; Biderman et al. 2023, arXiv
//! 2304.01373): rotary positions, attention and feed-forward network beside each other, a head of its own.
//!
//! x = dropout(embed_in[token]); per block x ← x + attention(norm₁ x) + ffn(norm₂ x), where the first `rotary_pct` of
//! every query and key head is turned by its position; logits = final_norm(x) · embed_outᵀ.
//!
//! Query, key and value lie as q | k | v in the columns of one matrix, heads side by side in each, as in every family
//! here; Hugging Face's files have q, k and v of one head after another: `train/checkpoint/layout.rs` converts.

use super::block::{Block, Normalization, operand};
use super::decoder::{embed, head, recorded, shared_slope, through};
use super::naming::Naming;
use super::{Pass, Recorded};
use crate::config::{Family, ModelConfig, Norm, Precision};
use crate::tape::{Tape, TensorId};

struct GptNeox {
    tokens: TensorId,
    blocks: Vec<Block>,
    final_norm: Normalization,
    /// The output matrix as the head reads it.
    head: TensorId,
}

pub(super) fn record(config: &ModelConfig, pass: &Pass) -> Recorded {
    recorded(pass, |tape| {
        let model = GptNeox::declare(tape, config, pass.precision);
        let x = embed(tape, config, pass, model.tokens, None);
        let x = through(tape, pass, &model.blocks, x, |tape, block, layer, x| {
            block.forward_in_parallel(tape, config, pass, layer, x)
        });
        head(tape, pass, &model.final_norm, model.head, x)
    })
}

impl GptNeox {
    /// Declares the parameters in the order of the Hugging Face file.
    fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Self {
        let naming = Naming::of(Family::GptNeox);
        let table = [config.vocab_size, config.n_embd];
        let tokens = tape.parameter(&format!("{}.weight", naming.tokens), &table);
        let shared = shared_slope(tape, config, naming);
        let block = |layer| Block::declare(tape, config, precision, (naming, layer), shared);
        let blocks = (0..config.n_layer).map(block).collect();
        let norm = if config.final_norm { Norm::LayerNorm } else { Norm::None };
        let final_norm = Normalization::declare(tape, config, precision, norm, naming.final_norm);
        let head = tape.parameter(super::naming::UNTIED_HEAD, &table);
        let head = operand(tape, head, precision);
        Self { tokens, blocks, final_norm, head }
    }
}
