//! The table of feed-forward networks. A network is a row here and a file of its own: it says which matrices stand before
//! the last one, and what is recorded between the normalized residual stream and that last matrix, which every network has.

mod fused;
mod standard;

use super::activate::Activate;
use super::config::ModelConfig;
use super::site::{Linear, Matrix, Site};
use crate::ops::activation::Activation;
use crate::tape::{Tape, TensorId};
use crate::words::{Pick, table};

/// All that the program knows of a feed-forward network.
pub struct Form {
    /// What `model.ffn` calls it.
    pub word: &'static str,
    /// What it is, in one line of Markdown.
    pub about: &'static str,
    /// What it adds to a configuration's name before `FFN`; empty for the standard one, which adds nothing.
    pub label: &'static str,
    /// Whether it has units: a width `model.n_inner` inside, before the last matrix.
    pub units: bool,
    /// Whether it can be recorded with an activation.
    pub takes: fn(Activation) -> bool,
    /// Declares the matrices before the last one.
    declare: fn(&mut Site<'_>) -> Vec<Linear>,
    /// Records what these make of the normalized residual stream. The backward pass keeps the result.
    open: fn(&mut Tape, &[Linear], TensorId) -> TensorId,
    /// Records what the last matrix reads of that. The backward pass may make it again.
    close: fn(&mut Tape, &Activate, TensorId) -> TensorId,
}

/// A network, as a configuration picks it.
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
    /// The matrix that ends in the residual stream.
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

    /// Whether units can be counted in what the last matrix reads.
    pub fn has_units(&self) -> bool {
        self.form.units
    }

    /// What the first matrices make of the normalized residual stream.
    pub fn open(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        (self.form.open)(tape, &self.first, x)
    }

    /// What the last matrix reads of that.
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
