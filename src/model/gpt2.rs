//! The GPT-2 family: learned positions, pre-norm blocks (or none), a head tied to the token table.
//!
//! x = dropout(wte[token] + wpe[position]); per block x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x);
//! logits = final_norm(x) · wteᵀ. The norm-free models of arXiv 2410.09637 keep the final norm.

use super::block::{operand, table};
use super::decoder::Decoder;
use super::naming::Naming;
use crate::config::{Family, ModelConfig, Precision};
use crate::tape::Tape;

/// Declares the parameters in the order of the Hugging Face file.
pub(super) fn declare(tape: &mut Tape, config: &ModelConfig, precision: Precision) -> Decoder {
    let naming = Naming::of(Family::Gpt2);
    let width = config.n_embd;
    let name = format!("{}.weight", naming.tokens);
    let tokens = tape.declare_parameter(&name, &[config.vocab_size, width], table(config));
    let head = operand(tape, tokens, precision);
    let positions =
        tape.declare_parameter("transformer.wpe.weight", &[config.n_positions, width], table(config));
    let (blocks, final_norm) = Decoder::inside(tape, config, precision, naming);
    Decoder { tokens, positions: Some(positions), blocks, parallel: false, final_norm, head }
}
