//! The block of every decoder: attention and a feed-forward network, each on the normalized residual stream, and the joins
//! that add them to it.

use super::attention::Attention;
use super::config::{ModelConfig, NormPosition};
use super::family::Arrangement;
use super::join::{Branch, Joined};
use super::names;
use super::network::Network;
use super::normalize::{Before, Normalize, Stream};
use super::pass::Recompute;
use super::rows::Rows;
use super::site::{Linear, Site};
use crate::tape::{DType, Tape, TensorId};

/// A declared block.
pub(super) struct Block {
    layer: usize,
    arrangement: Arrangement,
    position: NormPosition,
    /// What the results of the norms are multiplied by, if it is not one.
    norm_factor: Option<f32>,
    norm_1: Normalize,
    /// The first norm as values read it, where that is another one.
    norm_1_values: Option<Normalize>,
    attention: Attention,
    attention_join: Joined,
    norm_2: Normalize,
    network: Network,
    network_join: Joined,
    /// Norms of what attention and the network add, where norms stand before and after them.
    after: Option<[Normalize; 2]>,
}

impl Block {
    /// Declares the parameters of a block; `shared` is the slope of the whole model, if there is one.
    pub fn declare(site: &mut Site<'_>, shared: Option<TensorId>) -> Self {
        let ModelConfig { family, norm_position: position, residual, .. } = *site.config;
        let norms = site.config.norms_of(site.block());
        let [norm_1, norm_2] = ["norm_1", "norm_2"].map(|part| site.name(part));
        let stream = if position == NormPosition::Post { Stream::Residual } else { Stream::Branch };
        let depth = site.block() as f32 + 1.0;
        let first = Normalize::declare(site, norms[0], (Before::Attention, stream), &norm_1);
        Self {
            layer: site.block(),
            arrangement: family.arrangement,
            position,
            norm_factor: (residual.divides_norms && depth > 1.0).then(|| 1.0 / depth.sqrt()),
            norm_1_values: first.for_values(site, &norm_1),
            norm_1: first,
            attention: Attention::declare(site),
            attention_join: Joined::declare(site, Branch::Attention),
            norm_2: Normalize::declare(site, norms[1], (Before::Network, stream), &norm_2),
            network: Network::declare(site, shared),
            network_join: Joined::declare(site, Branch::Network),
            after: (position == NormPosition::Both).then(|| {
                [(0, "norm_1_after"), (1, "norm_2_after")].map(|(branch, part)| {
                    let (name, place) = (site.name(part), (Before::Addition, Stream::Residual));
                    Normalize::declare(site, norms[branch], place, &name)
                })
            }),
        }
    }

    /// Its norms.
    pub fn norms(&self) -> impl Iterator<Item = &Normalize> {
        [&self.norm_1, &self.norm_2].into_iter().chain(&self.norm_1_values).chain(self.after.iter().flatten())
    }

    /// The residual stream after the block.
    pub fn forward(&self, tape: &mut Tape, rows: &Rows<'_>, x: TensorId) -> TensorId {
        let [attention, network] = ["attn", "mlp"].map(|part| format!("h.{}.{part}", self.layer));
        let layers = rows.observes_layers();
        tape.enter(&attention);
        let normed = match self.position {
            NormPosition::Pre | NormPosition::Both => self.norm_1.apply_after(tape, x, layers, None),
            NormPosition::Post => x.into(),
        };
        // Norms of the same rows have nothing to hand on, and the estimate is of what attention adds as it is.
        let first = match (self.arrangement, self.position) {
            (Arrangement::Sequential, NormPosition::Pre) => {
                self.norm_1.hands_on(tape, normed.variance, &self.attention, &self.norm_2)
            }
            _ => None,
        };
        let a = self.divided(tape, normed.y);
        let values = self.norm_1_values.as_ref().map(|norm| {
            let y = norm.apply(tape, x, false);
            self.divided(tape, y)
        });
        let attending = self.attention.open(tape, rows, a, values);
        let open = |tape: &mut Tape, x| {
            tape.enter(&network);
            let f = match self.position {
                NormPosition::Pre | NormPosition::Both => self.norm_2.apply_after(tape, x, layers, first).y,
                NormPosition::Post => x,
            };
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
        let x = match &self.after {
            Some([after, _]) => added_after(tape, x, &self.attention.last, heads, after),
            None => self.attention_join.apply(tape, x, &self.attention.last, heads),
        };
        let x = self.settled(tape, &self.norm_1, x, layers);
        let opened = opened.unwrap_or_else(|| open(tape, x));
        tape.enter(&network);
        let x = self.feed(tape, rows, x, opened);
        if layers {
            let linears = self.attention.linears().chain(self.network.linears());
            tape.observing(|tape| linears.for_each(|linear| linear.observe(tape)));
        }
        self.settled(tape, &self.norm_2, x, layers)
    }

    /// The residual stream after an addition, where norms stand there.
    fn settled(&self, tape: &mut Tape, norm: &Normalize, x: TensorId, layers: bool) -> TensorId {
        match self.position {
            NormPosition::Pre | NormPosition::Both => x,
            NormPosition::Post => norm.apply(tape, x, layers),
        }
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
        let spectrum = rows.sums_moments() && self.network.has_units();
        let truncates = rows.truncates_units() && self.network.has_units();
        remade_if(again, tape, |tape| {
            if spectrum {
                self.sum_moments(tape, "before", opened);
            }
            let f = self.network.close(tape, opened);
            if spectrum {
                self.sum_moments(tape, "after", f);
            }
            let f = if truncates { self.truncated(tape, f) } else { f };
            let input = self.network.before_last(tape, f);
            let x = match &self.after {
                Some([_, after]) => added_after(tape, x, &self.network.last, input, after),
                None => self.network_join.apply(tape, x, &self.network.last, input),
            };
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

impl Block {
    /// Adds the sums and second moments of the columns of `units` [tokens, N] to those of the evaluation so far.
    fn sum_moments(&self, tape: &mut Tape, side: &str, units: TensorId) {
        let (_, width) = tape.shape(units).as_matrix();
        let sums = tape.observation(&names::sums(side, self.layer), &[width]);
        tape.add_column_sum(units, sums);
        let moments = tape.observation(&names::moments(side, self.layer), &[width, width]);
        tape.add_product_tn(units, moments);
    }

    /// `units` [tokens, N] without the small ones.
    fn truncated(&self, tape: &mut Tape, units: TensorId) -> TensorId {
        let dims = tape.shape(units).dims().to_vec();
        let (_, width) = tape.shape(units).as_matrix();
        let lengths = tape.input(&names::unit_lengths(self.layer), &[width], DType::F32);
        let bound = tape.input(&names::unit_bound(self.layer), &[1], DType::F32);
        let kept = tape.observation(&names::units(self.layer), &dims);
        tape.truncate_into(units, lengths, bound, kept);
        kept
    }
}

/// x plus the norm of a branch with the last matrix `last`, whose input is `f`.
fn added_after(tape: &mut Tape, x: TensorId, last: &Linear, f: TensorId, norm: &Normalize) -> TensorId {
    let branch = last.apply(tape, f);
    let branch = norm.apply(tape, branch, false);
    tape.add(x, branch)
}

/// Runs `record`, if `again` as a region that the backward pass recomputes.
pub(super) fn remade_if(
    again: bool,
    tape: &mut Tape,
    record: impl FnOnce(&mut Tape) -> TensorId,
) -> TensorId {
    if again { tape.remade(record) } else { record(tape) }
}
