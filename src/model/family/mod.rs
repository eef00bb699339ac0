//! The table of families. A family is data: the defaults of its keys, how its blocks go together, where positions enter,
//! what its head is, and how its Hugging Face files name and lay out the parameters. Each row has a file of its own.

mod architecture;
mod gpt2;
mod gpt_neox;

pub use architecture::{Architecture, Arrangement, Files, Head, Matrices, Naming, Positions, Setting};

use crate::words::{Pick, table};

/// A family, as a configuration picks it.
pub type Family = Pick<Architecture>;

const ALL: &[Architecture] = &[gpt2::GPT2, gpt_neox::GPT_NEOX];

table!(Architecture, ALL);

impl Family {
    pub const GPT2: Self = Self::at(0);
    pub const GPT_NEOX: Self = Self::at(1);
}

/// A layer's entropy thresholds, as the code of arXiv 2501.03489 calls them; behind the attention's name.
pub const THRESHOLDS: &str = "reg_threshold_weights";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!((Family::GPT2.word, Family::GPT_NEOX.word), ("gpt2", "gpt_neox"));
    }

    #[test]
    fn parts_without_a_name_of_their_own_keep_the_programs() {
        let naming = &Family::GPT_NEOX.naming;
        assert_eq!(naming.in_block(3, "attention.out"), "gpt_neox.layers.3.attention.dense");
        assert_eq!(naming.in_block(3, "mlp.act.slopes"), "gpt_neox.layers.3.mlp.act.slopes");
    }
}
