//! What a family calls its parameters: the names of its Hugging Face files.

use crate::config::Family;

/// The names of a family; modules without `.weight` and `.bias`.
#[derive(Debug, PartialEq, Eq)]
pub struct Naming {
    /// The token table.
    pub tokens: &'static str,
    /// What stands before the number of a block.
    pub blocks: &'static str,
    /// Inside a block: the norm before attention, query, key and value in one, and attention's output.
    pub norm_1: &'static str,
    /// Attention as a whole.
    pub attention_module: &'static str,
    pub attention: &'static str,
    pub project: &'static str,
    /// Inside a block: the norm before the feed-forward network, and its two matrices.
    pub norm_2: &'static str,
    pub expand: &'static str,
    pub contract: &'static str,
    pub final_norm: &'static str,
    /// The slope that every block shares; whole.
    pub shared_slope: &'static str,
}

const GPT2: Naming = Naming {
    tokens: "transformer.wte",
    blocks: "transformer.h.",
    norm_1: "ln_1",
    attention_module: "attn",
    attention: "attn.c_attn",
    project: "attn.c_proj",
    norm_2: "ln_2",
    expand: "mlp.c_fc",
    contract: "mlp.c_proj",
    final_norm: "transformer.ln_f",
    shared_slope: "transformer.act.slopes",
};

const GPT_NEOX: Naming = Naming {
    tokens: "gpt_neox.embed_in",
    blocks: "gpt_neox.layers.",
    norm_1: "input_layernorm",
    attention_module: "attention",
    attention: "attention.query_key_value",
    project: "attention.dense",
    norm_2: "post_attention_layernorm",
    expand: "mlp.dense_h_to_4h",
    contract: "mlp.dense_4h_to_h",
    final_norm: "gpt_neox.final_layer_norm",
    shared_slope: "gpt_neox.act.slopes",
};

/// A layer's entropy thresholds, as the code of arXiv 2501.03489 calls them; behind the attention's name.
pub const THRESHOLDS: &str = "reg_threshold_weights";

impl Naming {
    pub fn of(family: Family) -> &'static Self {
        match family {
            Family::Gpt2 => &GPT2,
            Family::GptNeox => &GPT_NEOX,
        }
    }

    /// The name of a part of block `layer`.
    pub fn in_block(&self, layer: usize, part: &str) -> String {
        format!("{}{layer}.{part}", self.blocks)
    }

    /// Block `layer`'s own slopes.
    pub fn slopes(&self, layer: usize) -> String {
        self.in_block(layer, "mlp.act.slopes")
    }
}
