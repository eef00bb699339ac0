//! The GPT-NeoX family, which Pythia is of (Black et al. 2022, arXiv 2204.06745; Biderman et al. 2023, arXiv
//! 2304.01373): rotary positions, attention and feed-forward network beside each other, a head of its own.
//!
//! x = dropout(embed_in[token]); per block x ← x + attention(norm₁ x) + ffn(norm₂ x), where the first `rotary_pct` of
//! every query and key head is turned by its position; logits = final_norm(x) · embed_outᵀ.
//!
//! Query, key and value lie as q | k | v in the columns of one matrix, heads side by side in each, as in every family
//! here; Hugging Face's files have q, k and v of one head after another: `train/checkpoint/layout.rs` converts.

use super::block::{operand, table};
use super::decoder::Decoder;
use super::naming::Naming;
use crate::config::{Family, ModelConfig, Precision};
use crate::tape::Tape;

/// Declares the parameters in the order of the Hugging Face file.
pub(super) fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Decoder {
    let naming = Naming::of(Family::GptNeox);
    let dims = [config.vocab_size, config.n_embd];
    let tokens = tape.declare_parameter(&format!("{}.weight", naming.tokens), &dims, table(config));
    let (blocks, final_norm) = Decoder::inside(tape, config, precision, naming);
    let head = tape.declare_parameter("embed_out.weight", &dims, table(config));
    let head = operand(tape, head, precision);
    Decoder { tokens, positions: None, blocks, parallel: true, final_norm, head }
}
