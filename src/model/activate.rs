//! The activation of a feed-forward network and its slope, if it learns one.

use super::config::{ModelConfig, SlopeScope};
use super::site::Site;
use crate::observe::quantities::SLOPES;
use crate::ops::activation::{Activation, OwnParameter};
use crate::tape::{Decays, Declaration, Start, Tape, TensorId};

/// The activation, with the vector entry that it learns, if any.
pub(super) struct Activate {
    pub activation: Activation,
    /// The fixed p, for activations that take one.
    pub fixed: f32,
    pub learned: Option<(TensorId, usize)>,
    /// What an activation with an op of its own learns.
    own: Vec<TensorId>,
}

/// A learned slope: its initial value and its decay.
fn slope(config: &ModelConfig) -> Declaration {
    Declaration { decays: Decays::AsSlopes, ..Declaration::new(Start::Constant(config.slope_init)) }
}

/// Declares the slope of the whole model, if there is one.
pub(super) fn declare_shared(site: &mut Site<'_>) -> Option<TensorId> {
    let config = site.config;
    let one = config.activation_function.learns() && config.slope_scope == SlopeScope::Shared;
    one.then(|| {
        let slope = slope(config).watched(&SLOPES, 0..1, 0..config.n_layer);
        site.declare(config.family.naming.shared_slope, &[1], slope)
    })
}

impl Activate {
    /// Declares the slope of the block if the activation learns one per block. `shared` is the slope of the whole model, if
    /// there is one.
    pub fn declare(site: &mut Site<'_>, shared: Option<TensorId>) -> Self {
        let (config, layer) = (site.config, site.block());
        let activation = config.activation_function;
        let name = site.name("mlp.act.slopes");
        // The number of entries in the layer's own slope, and the one the layer uses.
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
        let parameters = activation.own.map_or(&[][..], |own| own.parameters);
        let declare = |parameter: &OwnParameter| {
            let times = if parameter.for_each_unit { config.units() } else { 1 };
            let [start, others @ ..] = parameter.starts else { unreachable!("a parameter has numbers") };
            let start = match others {
                [] => Start::Constant(*start),
                _ => Start::Listed(parameter.starts),
            };
            let name = site.name("mlp.act");
            let declaration = Declaration::new(start).undecayed();
            site.declare(
                &format!("{name}.{}", parameter.suffix),
                &[parameter.starts.len() * times],
                declaration,
            )
        };
        let own = parameters.iter().map(declare).collect();
        Self { activation, fixed: config.leaky_slope as f32, learned, own }
    }

    /// Records the activation of `x`; nothing for the identity.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        if let Some(own) = self.activation.own {
            return (own.record)(tape, x, &self.own);
        }
        match self.learned {
            _ if self.activation.is_identity() => x,
            Some(slope) => tape.learned_activation(x, self.activation, slope),
            None => tape.activation_function(x, self.activation, self.fixed),
        }
    }
}
