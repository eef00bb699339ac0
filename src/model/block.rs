//! The block of every decoder: attention and a feed-forward network, each on the normalized residual stream, and the joins
//! that add them to it.

use super::attention::Attention;
use super::config::ModelConfig;
use super::family::Arrangement;
use super::join::{Branch, Joined};
use super::names;
use super::network::Network;
use super::normalize::{Before, Normalize};
use super::pass::Recompute;
use super::rows::Rows;
use super::site::Site;
use crate::tape::{Tape, TensorId};

/// A declared block.
pub(super) struct Block {
    layer: usize,
    arrangement: Arrangement,
    /// What the results of the norms are multiplied by, if it is not one.
    norm_factor: Option<f32>,
    norm_1: Normalize,
    attention: Attention,
    attention_join: Joined,
    norm_2: Normalize,
    network: Network,
    network_join: Joined,
}

impl Block {
    /// Declares the parameters of a block; `shared` is the slope of the whole model, if there is one.
    pub fn declare(site: &mut Site<'_>, shared: Option<TensorId>) -> Self {
        let ModelConfig { norm, family, residual, .. } = *site.config;
        let [norm_1, norm_2] = ["norm_1", "norm_2"].map(|part| site.name(part));
        let depth = site.block() as f32 + 1.0;
        Self {
            layer: site.block(),
            arrangement: family.arrangement,
            norm_factor: (residual.divides_norms && depth > 1.0).then(|| 1.0 / depth.sqrt()),
            norm_1: Normalize::declare(site, norm, Before::Attention, &norm_1),
            attention: Attention::declare(site),
            attention_join: Joined::declare(site, Branch::Attention),
            norm_2: Normalize::declare(site, norm, Before::Network, &norm_2),
            network: Network::declare(site, shared),
            network_join: Joined::declare(site, Branch::Network),
        }
    }

    /// The residual stream after the block.
    pub fn forward(&self, tape: &mut Tape, rows: &Rows<'_>, x: TensorId) -> TensorId {
        let [attention, network] = ["attn", "mlp"].map(|part| format!("h.{}.{part}", self.layer));
        let layers = rows.observes_layers();
        tape.enter(&attention);
        let normed = self.norm_1.apply_after(tape, x, layers, None);
        // Norms of the same rows have nothing to hand on.
        let first = match self.arrangement {
            Arrangement::Parallel => None,
            Arrangement::Sequential => {
                self.norm_1.hands_on(tape, normed.variance, &self.attention, &self.norm_2)
            }
        };
        let a = self.divided(tape, normed.y);
        let attending = self.attention.open(tape, rows, a);
        let open = |tape: &mut Tape, x| {
            tape.enter(&network);
            let f = self.norm_2.apply_after(tape, x, layers, first).y;
            let f = self.divided(tape, f);
            self.network.open(tape, f)
        };
        // If both read the same x, all readers of x are recorded before the additions to it. The backward pass then makes
        // the gradient of the residual stream first, and the ops that make the other two gradients add it to their output.
        let opened = match self.arrangement {
            Arrangement::Parallel => Some(open(tape, x)),
            Arrangement::Sequential => None,
        };
        tape.enter(&attention);
        let heads = self.attention.close(tape, rows, self.layer, attending);
        let x = self.attention_join.apply(tape, x, &self.attention.last, heads);
        let opened = opened.unwrap_or_else(|| open(tape, x));
        tape.enter(&network);
        self.feed(tape, rows, x, opened)
    }

    /// A norm's result as a branch reads it.
    fn divided(&self, tape: &mut Tape, y: TensorId) -> TensorId {
        self.norm_factor.map_or(y, |factor| tape.scaled(y, factor))
    }

    /// The residual stream `x` with the rest of the feed-forward network, whose first part is `opened`.
    fn feed(&self, tape: &mut Tape, rows: &Rows<'_>, x: TensorId, opened: TensorId) -> TensorId {
        let layers = rows.observes_layers();
        let again = match rows {
            Rows::Sequences(pass) => pass.recompute == Recompute::Ffn,
            Rows::Cached(_) => false,
        };
        remade_if(again, tape, |tape| {
            let f = self.network.close(tape, opened);
            let input = self.network.before_last(tape, f);
            let x = self.network_join.apply(tape, x, &self.network.last, input);
            // Counted after the product, because some devices made an image of f for it.
            if layers && self.network.has_units() {
                tape.observing(|tape| {
                    let (_, width) = tape.shape(f).as_matrix();
                    let units = tape.observation(&names::active_units(self.layer), &[width]);
                    tape.count_nonzero(f, units);
                });
            }
            x
        })
    }
}

/// Runs `record`, if `again` as a region that the backward pass recomputes.
pub(super) fn remade_if(
    again: bool,
    tape: &mut Tape,
    record: impl FnOnce(&mut Tape) -> TensorId,
) -> TensorId {
    if again { tape.remade(record) } else { record(tape) }
}
