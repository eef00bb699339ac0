//! The table of families. A family is data: the defaults of its keys, the structure of its blocks, the encoding of
//! positions, its head, and the names and layout of the parameters in its Hugging Face files. Each row has its own file.

mod architecture;
mod gpt2;
mod gpt_neox;
mod llama;

pub use architecture::{
    Architecture, Arrangement, Files, Head, Matrices, Naming, Positions, Projections, Setting,
};

use crate::words::{Pick, table};

/// The family that a configuration selects.
pub type Family = Pick<Architecture>;

const ALL: &[Architecture] = &[gpt2::GPT2, gpt_neox::GPT_NEOX, llama::LLAMA];

table!(Architecture, ALL);

impl Family {
    pub const GPT2: Self = Self::at(0);
    pub const GPT_NEOX: Self = Self::at(1);
    pub const LLAMA: Self = Self::at(2);
}

/// The name of a layer's entropy thresholds in the code of arXiv 2501.03489; follows the attention's name.
pub const THRESHOLDS: &str = "reg_threshold_weights";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        let words = [Family::GPT2, Family::GPT_NEOX, Family::LLAMA].map(|family| family.word);
        assert_eq!(words, ["gpt2", "gpt_neox", "llama"]);
    }

    #[test]
    fn parts_without_a_name_of_their_own_keep_the_programs() {
        let naming = &Family::GPT_NEOX.naming;
        assert_eq!(naming.in_block(3, "attention.out"), "gpt_neox.layers.3.attention.dense");
        assert_eq!(naming.in_block(3, "mlp.act.slopes"), "gpt_neox.layers.3.mlp.act.slopes");
    }
}
