//! The table of optimizers. An optimizer is a row here and its own file: what it keeps for each parameter, the numbers of a
//! step that the host computes, and the nodes that it records. Memory, checkpoints and resuming follow the row's states.

mod adamw;
mod around;
mod change;
mod muon;
mod rule;
mod sgd;
mod singular;

pub use around::{clip_units, measure, project, unite};
pub use change::{by_layer, watch_change};
pub use rule::{HYPER, Place, Rule, Settings, State, Update};
pub use singular::{ITERATIONS, iterate};

use crate::words::{Pick, table};

/// An optimizer, as selected by a configuration.
pub type Optimizer = Pick<Rule>;

const ALL: &[Rule] = &[adamw::HF, adamw::TORCH, muon::MUON, muon::NORMUON, sgd::SGD];

table!(Rule, ALL);

impl Optimizer {
    pub const ADAMW_HF: Self = Self::at(0);
    pub const ADAMW: Self = Self::at(1);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!((Optimizer::ADAMW_HF.word, Optimizer::ADAMW.word), ("adamw_hf", "adamw"));
    }

    /// Two states of the same name would share memory.
    #[test]
    fn the_states_of_a_rule_have_names_of_their_own() {
        for rule in ALL {
            let names: BTreeSet<_> = rule.states.iter().flat_map(|s| [s.arena, s.prefix]).collect();
            assert_eq!(names.len(), 2 * rule.states.len(), "{}", rule.word);
        }
    }
}
