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

/// The output matrix where it is not the token table.
pub const UNTIED_HEAD: &str = "embed_out.weight";

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

    /// Whether a parameter is one of the two matrices that end in the residual stream.
    pub fn is_residual_projection(&self, name: &str) -> bool {
        let module = name.strip_suffix(".weight").and_then(|module| module.strip_prefix(self.blocks));
        let part = module.and_then(|module| module.split_once('.')).map(|(_, part)| part);
        part.is_some_and(|part| part == self.project || part == self.contract)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn residual_projections_are_told_by_name() {
        for (family, ends) in [
            (Family::Gpt2, ["transformer.h.3.attn.c_proj.weight", "transformer.h.11.mlp.c_proj.weight"]),
            (
                Family::GptNeox,
                ["gpt_neox.layers.0.attention.dense.weight", "gpt_neox.layers.12.mlp.dense_4h_to_h.weight"],
            ),
        ] {
            let naming = Naming::of(family);
            for name in ends {
                assert!(naming.is_residual_projection(name), "{name}");
                assert!(!naming.is_residual_projection(&name.replace("weight", "bias")));
            }
            let others = [naming.in_block(0, naming.expand), naming.in_block(0, naming.attention)];
            for name in others.iter().map(String::as_str).chain([naming.tokens, naming.final_norm]) {
                assert!(!naming.is_residual_projection(&format!("{name}.weight")), "{name}");
            }
        }
    }
}
