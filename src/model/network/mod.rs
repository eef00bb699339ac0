//! The table of feed-forward networks. A network is a row here and a file of its own. It defines the matrices before the
//! last one, and the ops between the normalized residual stream and that last matrix, which every network has.

mod fused;
mod standard;

use super::activate::Activate;
use super::config::ModelConfig;
use super::site::{Linear, Matrix, Site};
use crate::ops::activation::Activation;
use crate::tape::{Tape, TensorId};
use crate::words::{Pick, table};

/// All the program knows about a feed-forward network.
pub struct Form {
    /// Its word in `model.ffn`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// Its part of a configuration's name, before `FFN`; empty for the standard network.
    pub label: &'static str,
    /// Whether it has units: an inner width `model.n_inner` before the last matrix.
    pub units: bool,
    /// Whether it takes an activation.
    pub takes: fn(Activation) -> bool,
    /// Declares the matrices before the last one.
    declare: fn(&mut Site<'_>) -> Vec<Linear>,
    /// Records the outputs of these matrices for the normalized residual stream. The backward pass keeps the result.
    open: fn(&mut Tape, &[Linear], TensorId) -> TensorId,
    /// Records the last matrix's input from that. The backward pass may recompute it.
    close: fn(&mut Tape, &Activate, TensorId) -> TensorId,
}

/// The network that a configuration selects.
pub type FeedForward = Pick<Form>;

const ALL: &[Form] = &[standard::STANDARD, fused::FUSED];

table!(Form, ALL);

impl FeedForward {
    pub const STANDARD: Self = Self::at(0);
    pub const FUSED: Self = Self::at(1);
}

impl ModelConfig {
    /// Units inside the feed-forward network; 0 where it has none.
    pub fn units(&self) -> usize {
        if self.ffn.units { self.n_inner } else { 0 }
    }
}

/// A declared network.
pub(super) struct Network {
    form: FeedForward,
    first: Vec<Linear>,
    activate: Activate,
    /// The matrix that writes to the residual stream.
    pub last: Linear,
}

impl Network {
    /// Declares the network of a block. `shared` is the slope of the whole model, if there is one.
    pub fn declare(site: &mut Site<'_>, shared: Option<TensorId>) -> Self {
        let (form, width) = (site.config.ffn, site.config.n_embd);
        let inner = if form.units { site.config.n_inner } else { width };
        let first = (form.declare)(site);
        let activate = Activate::declare(site, shared);
        let last = site.linear("mlp.contract", Matrix::ending(inner, width));
        Self { form, first, activate, last }
    }

    /// Whether the last matrix's input has units to count.
    pub fn has_units(&self) -> bool {
        self.form.units
    }

    /// The outputs of the first matrices for the normalized residual stream.
    pub fn open(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        (self.form.open)(tape, &self.first, x)
    }

    /// The last matrix's input, computed from that.
    pub fn close(&self, tape: &mut Tape, opened: TensorId) -> TensorId {
        (self.form.close)(tape, &self.activate, opened)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!((FeedForward::STANDARD.word, FeedForward::FUSED.word), ("standard", "fused"));
    }
}
