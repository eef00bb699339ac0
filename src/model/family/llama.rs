//! The Llama family (Touvron et al. 2023, arXiv 2302.13971), which includes SmolLM2 (Allal et al. 2025, arXiv 2502.02737): rotary
//! positions over whole heads, a gated feed-forward network, query heads that may share key and value heads, no biases, and a head
//! that is the token table or a matrix of its own.
//!
//! x = embed_tokens[token]; per block x ← x + attention(norm₁ x), x ← x + ffn(norm₂ x); logits = norm(x) · headᵀ. The files hold the
//! matrices of queries, keys, values, gate and up each on its own, and so does the model.

use super::architecture::{
    Architecture, Arrangement, Files, Head, Matrices, Naming, Positions, Projections, Setting,
};

pub(super) const LLAMA: Architecture = Architecture {
    word: "llama",
    about: "as SmolLM2: rotary positions, a gated feed-forward network, heads that may share keys (`n_kv_head`), a head tied to the token table unless `tie_embeddings = false`",
    defaults: &[
        ("model.rotary_pct", Setting::Number(1.0)),
        ("model.norm", Setting::Word("rms_norm")),
        ("model.activation_function", Setting::Word("silu")),
        ("model.ffn", Setting::Word("gated")),
        ("model.bias", Setting::Word("none")),
        ("model.embd_pdrop", Setting::Number(0.0)),
    ],
    positions: Positions::Rotary,
    arrangement: Arrangement::Sequential,
    projections: Projections::Apart,
    head: Head::Tied("lm_head.weight"),
    naming: Naming {
        tokens: "model.embed_tokens",
        blocks: "model.layers.",
        inside: &[
            ("norm_1", "input_layernorm"),
            ("attention", "self_attn"),
            ("attention.q", "self_attn.q_proj"),
            ("attention.k", "self_attn.k_proj"),
            ("attention.v", "self_attn.v_proj"),
            ("attention.gate", "self_attn.gate_proj"),
            ("attention.out", "self_attn.o_proj"),
            ("norm_2", "post_attention_layernorm"),
            ("mlp.expand", "mlp.up_proj"),
            ("mlp.gate", "mlp.gate_proj"),
            ("mlp.up", "mlp.up_proj"),
            ("mlp.contract", "mlp.down_proj"),
        ],
        final_norm: "model.norm",
        shared_slope: "model.act.slopes",
    },
    files: Files {
        prefix: "model.",
        matrices: Matrices::OutInByHead,
        biases: false,
        constants: &[".self_attn.rotary_emb.inv_freq"],
        apart: None,
    },
};
