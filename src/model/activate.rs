//! The activation of a feed-forward network, with the slope that it may learn.

use super::config::{ModelConfig, SlopeScope};
use super::site::Site;
use crate::observe::quantities::SLOPES;
use crate::ops::activation::Activation;
use crate::tape::{Decays, Declaration, Start, Tape, TensorId};

/// The activation, with the entry of a vector that it learns, if it learns anything.
pub(super) struct Activate {
    pub activation: Activation,
    /// The p that it is given where it takes a fixed one.
    pub fixed: f32,
    pub learned: Option<(TensorId, usize)>,
}

/// A learned slope: how it starts and decays.
fn slope(config: &ModelConfig) -> Declaration {
    Declaration { decays: Decays::AsSlopes, ..Declaration::new(Start::Constant(config.slope_init)) }
}

/// Declares the slope of the whole model, where there is one.
pub(super) fn declare_shared(site: &mut Site<'_>) -> Option<TensorId> {
    let config = site.config;
    let one = config.activation_function.learns() && config.slope_scope == SlopeScope::Shared;
    one.then(|| {
        let slope = slope(config).watched(&SLOPES, 0..1, 0..config.n_layer);
        site.declare(config.family.naming.shared_slope, &[1], slope)
    })
}

impl Activate {
    /// Declares the slope of the block where the activation learns one of its own. `shared` is that of the whole model, if
    /// there is one.
    pub fn declare(site: &mut Site<'_>, shared: Option<TensorId>) -> Self {
        let (config, layer) = (site.config, site.block());
        let activation = config.activation_function;
        let name = site.name("mlp.act.slopes");
        // Of how many entries the layer's own slope is, and which one the layer uses.
        let mut own = |entries: usize, used: usize| {
            let slope = slope(config).watched(&SLOPES, used..used + 1, layer..layer + 1);
            (site.declare(&name, &[entries], slope), used)
        };
        let learned = match (activation.learns(), config.slope_scope) {
            (false, _) => None,
            (true, SlopeScope::PerLayer) => Some(own(config.n_layer, layer)),
            (true, SlopeScope::PerBlock) => Some(own(1, 0)),
            (true, SlopeScope::Shared) => shared.map(|slope| (slope, 0)),
        };
        Self { activation, fixed: config.leaky_slope as f32, learned }
    }

    /// Records the activation of `x`; nothing for the identity.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        match self.learned {
            _ if self.activation.is_identity() => x,
            Some(slope) => tape.learned_activation(x, self.activation, slope),
            None => tape.activation_function(x, self.activation, self.fixed),
        }
    }
}
