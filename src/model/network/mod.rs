//! The table of feed-forward networks. A network is a row here and a file of its own. It defines the matrices before the
//! last one, and the ops between the normalized residual stream and that last matrix, which every network has.

mod fused;
mod gated;
mod standard;

use super::activate::Activate;
use super::config::ModelConfig;
use super::join::Bias;
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
    /// That width, where it is not set, from the width of the residual stream.
    pub inner: fn(usize) -> usize,
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

const ALL: &[Form] = &[standard::STANDARD, fused::FUSED, gated::GATED];

table!(Form, ALL);

impl FeedForward {
    pub const STANDARD: Self = Self::at(0);
    pub const FUSED: Self = Self::at(1);
    pub const GATED: Self = Self::at(2);
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
    /// What Fixup adds before the first matrices, the activation and the last matrix.
    biases: [Bias; 3],
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
        let biases = ["bias_1a", "bias_1b", "bias_2a"].map(|name| Bias::declare(site, "mlp", name));
        let last = site.linear("mlp.contract", Matrix::ending(inner, width));
        Self { form, first, activate, biases, last }
    }

    /// Its matrices.
    pub fn linears(&self) -> impl Iterator<Item = &Linear> {
        self.first.iter().chain([&self.last])
    }

    /// Whether the last matrix's input has units to count.
    pub fn has_units(&self) -> bool {
        self.form.units
    }

    /// The outputs of the first matrices for the normalized residual stream.
    pub fn open(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        let x = self.biases[0].apply(tape, x);
        (self.form.open)(tape, &self.first, x)
    }

    /// The units, computed from that.
    pub fn close(&self, tape: &mut Tape, opened: TensorId) -> TensorId {
        let opened = if self.form.units { self.biases[1].apply(tape, opened) } else { opened };
        (self.form.close)(tape, &self.activate, opened)
    }

    /// The last matrix's input, from the units.
    pub fn before_last(&self, tape: &mut Tape, units: TensorId) -> TensorId {
        if self.form.units { self.biases[2].apply(tape, units) } else { units }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        let words = [FeedForward::STANDARD.word, FeedForward::FUSED.word, FeedForward::GATED.word];
        assert_eq!(words, ["standard", "fused", "gated"]);
    }
}
