//! The table of joins: how the output of a block's branch is added to the residual stream.

use super::config::ModelConfig;
use super::site::{Linear, Site};
use crate::observe::quantities::{FFN_ALPHA, FFN_BETA, Quantity};
use crate::tape::{Declaration, Start, Tape, TensorId};

/// All the program knows about a join.
pub struct Join {
    /// Its part of a configuration's name, before `FFN`.
    pub label: &'static str,
    /// The numbers it learns: for each, the suffix to the branch's name, the initial value, and the quantity that reports
    /// it.
    pub parameters: &'static [(&'static str, f64, &'static Quantity)],
    /// Records the residual stream after the branch. Takes the stream, the branch's last matrix and its input, and the
    /// parameters.
    record: fn(&mut Tape, TensorId, &Linear, TensorId, &[TensorId]) -> TensorId,
}

/// x + branch(x).
pub static PLAIN: Join =
    Join { label: "", parameters: &[], record: |tape, x, last, f, _| last.apply_onto(tape, x, f) };

/// β·x + branch(x)/α, with learned α and β (arXiv 2501.03489).
pub static SCALED: Join = Join {
    label: "Sc",
    parameters: &[("alpha", 1.0, &FFN_ALPHA), ("beta", 1.0, &FFN_BETA)],
    record: |tape, x, last, f, scales| {
        let y = last.apply(tape, f);
        tape.scaled_sum(x, y, scales[0], scales[1])
    },
};

impl ModelConfig {
    /// The join after the feed-forward network.
    pub fn ffn_join(&self) -> &'static Join {
        if self.ffn_scaling { &SCALED } else { &PLAIN }
    }
}

/// A declared join.
pub(super) struct Joined {
    join: &'static Join,
    parameters: Vec<TensorId>,
}

impl Joined {
    /// Declares the parameters of a join after the branch `branch`, a part of the block.
    pub fn declare(site: &mut Site<'_>, join: &'static Join, branch: &'static str) -> Self {
        let (name, layer) = (site.name(branch), site.block());
        let declare = |&(part, start, quantity): &(&str, f64, &'static Quantity)| {
            let scale = Declaration::new(Start::Constant(start)).undecayed().added();
            let scale = scale.watched(quantity, 0..1, layer..layer + 1);
            site.declare(&format!("{name}.{part}"), &[1], scale)
        };
        Self { join, parameters: join.parameters.iter().map(declare).collect() }
    }

    /// The residual stream after a branch with the last matrix `last`, whose input is `f`.
    pub fn apply(&self, tape: &mut Tape, x: TensorId, last: &Linear, f: TensorId) -> TensorId {
        (self.join.record)(tape, x, last, f, &self.parameters)
    }
}
