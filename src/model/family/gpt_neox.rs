//! The GPT-NeoX family, which includes Pythia (Black et al. 2022, arXiv 2204.06745; Biderman et al. 2023, arXiv
//! 2304.01373): rotary positions, attention and feed-forward network in parallel, an untied head.
//!
//! x = dropout(embed_in[token]); per block x ← x + attention(norm₁ x) + ffn(norm₂ x), where the first `rotary_pct` of
//! every query and key head is rotated by its position; logits = final_norm(x) · embed_outᵀ.

use super::architecture::{
    Architecture, Arrangement, Files, Head, Matrices, Naming, Positions, Projections, Setting,
};

pub(super) const GPT_NEOX: Architecture = Architecture {
    word: "gpt_neox",
    about: "as in Pythia: rotary positions, attention and feed-forward network in parallel, an untied head",
    defaults: &[
        ("model.rotary_pct", Setting::Number(0.25)),
        ("model.bias", Setting::Word("all")),
        ("model.embd_pdrop", Setting::Number(0.0)),
    ],
    positions: Positions::Rotary,
    arrangement: Arrangement::Parallel,
    projections: Projections::Packed,
    head: Head::Own("embed_out.weight"),
    naming: Naming {
        tokens: "gpt_neox.embed_in",
        blocks: "gpt_neox.layers.",
        inside: &[
            ("norm_1", "input_layernorm"),
            ("attention.qkv", "attention.query_key_value"),
            ("attention.out", "attention.dense"),
            ("norm_2", "post_attention_layernorm"),
            ("mlp.expand", "mlp.dense_h_to_4h"),
            ("mlp.contract", "mlp.dense_4h_to_h"),
        ],
        final_norm: "gpt_neox.final_layer_norm",
        shared_slope: "gpt_neox.act.slopes",
    },
    files: Files {
        prefix: "gpt_neox.",
        matrices: Matrices::OutInByHead,
        biases: true,
        constants: &[".attention.bias", ".attention.masked_bias", ".attention.rotary_emb.inv_freq"],
        apart: None,
    },
};
