//! The GPT-2 family: learned positions, pre-norm blocks (or none), a head tied to the token table.
//!
//! x = dropout(wte[token] + wpe[position]); per block x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x);
//! logits = final_norm(x) · wteᵀ. The norm-free models of arXiv 2410.09637 keep the final norm.

use super::architecture::{Architecture, Arrangement, Files, Head, Matrices, Naming, Positions, Projections};

pub(super) const GPT2: Architecture = Architecture {
    word: "gpt2",
    about: "learned positions, pre-norm blocks, a head tied to the token table",
    defaults: &[],
    positions: Positions::Learned("transformer.wpe.weight"),
    arrangement: Arrangement::Sequential,
    projections: Projections::Packed,
    head: Head::Tied("lm_head.weight"),
    naming: Naming {
        tokens: "transformer.wte",
        blocks: "transformer.h.",
        inside: &[
            ("norm_1", "ln_1"),
            ("attention", "attn"),
            ("attention.qkv", "attn.c_attn"),
            ("attention.out", "attn.c_proj"),
            ("norm_2", "ln_2"),
            ("mlp.expand", "mlp.c_fc"),
            ("mlp.contract", "mlp.c_proj"),
        ],
        final_norm: "transformer.ln_f",
        shared_slope: "transformer.act.slopes",
    },
    files: Files {
        prefix: "transformer.",
        matrices: Matrices::InOut,
        biases: true,
        constants: &[".attn.bias", ".attn.masked_bias"],
        apart: Some((".attn.c_attn.", [".attn.qk_attn.", ".attn.v_attn."])),
    },
};
