//! A norm of rows, with what it learns and what is observed of it.

use super::attention::Attention;
use super::config::ModelConfig;
use super::names;
use super::removal::Removal;
use super::site::Site;
use crate::observe::quantities::{NORM_SITES, NormSite};
use crate::ops::bhyt::First;
use crate::ops::bounded::NormFunction;
use crate::ops::column_norm::rule::WINDOW;
use crate::ops::norms::{Norm, Normed, Place, Role};
use crate::ops::saturation::{MEASURES, Saturated};
use crate::ops::taper::Running;
use crate::tape::{DType, Declaration, Start, Tape, TensorId};

/// Where a norm stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Before {
    Attention,
    Network,
    Head,
    /// Behind a branch, before it is added to the residual stream.
    Addition,
}

/// What reads the norm's result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stream {
    /// A product.
    Branch,
    /// The residual stream, which is f32.
    Residual,
}

/// A declared norm.
#[derive(Clone)]
pub(super) struct Normalize {
    norm: Norm,
    before: Before,
    layer: Option<usize>,
    learned: Vec<TensorId>,
    function: Option<NormFunction>,
    epsilon: f32,
    inverse_kappa: f32,
    /// The longest context.
    context: usize,
    /// Its pair in the schedule of removals, if it is a fake norm.
    removal: Option<usize>,
    result: DType,
}

impl Before {
    /// What is measured there.
    fn quantities(self) -> Option<&'static NormSite> {
        match self {
            Self::Attention => Some(&NORM_SITES[0]),
            Self::Network => Some(&NORM_SITES[1]),
            Self::Head => Some(&NORM_SITES[2]),
            Self::Addition => None,
        }
    }

    /// The place that a fake norm there is removed from.
    fn removal(self, layer: Option<usize>) -> Option<Removal> {
        match self {
            Self::Attention => layer.map(Removal::QueryKey),
            Self::Network => layer.map(Removal::Network),
            Self::Head => Some(Removal::Head),
            Self::Addition => None,
        }
    }

    /// Its part of the names of observations.
    fn word(self) -> &'static str {
        match self {
            Self::Attention => "attention",
            Self::Network => "network",
            Self::Head => "head",
            Self::Addition => "addition",
        }
    }
}

/// The initial α of a bounded norm.
fn alpha_init(config: &ModelConfig, before: Before) -> f64 {
    match before {
        Before::Attention => config.attention_alpha_init.unwrap_or(config.alpha_init),
        Before::Network | Before::Head | Before::Addition => config.alpha_init,
    }
}

impl Normalize {
    /// Declares what the norm `name` learns.
    pub fn declare(site: &mut Site<'_>, norm: Norm, (before, stream): (Before, Stream), name: &str) -> Self {
        let config = site.config;
        let quantities = before.quantities();
        // A quantity of the whole model belongs to no layer, but counts for the first.
        let layer = site.layer.unwrap_or(0);
        let mut declare = |suffix: &str, role: Role| {
            let mut rows = 1;
            let (width, start) = match role {
                Role::Gain | Role::Rescale | Role::Running => (config.n_embd, 1.0),
                Role::Bias | Role::Direction | Role::Drift => (config.n_embd, 0.0),
                Role::Window => {
                    rows = WINDOW;
                    (config.n_embd, 0.0)
                }
                Role::RootGain => (config.n_embd, (config.n_embd as f64).sqrt()),
                Role::Spread => (1, config.n_embd as f64),
                Role::Alpha => (1, alpha_init(config, before)),
                Role::Shift => (1, 0.0),
                Role::Lambda => (1, config.lambda_init),
                Role::Taper | Role::Held => (2, 1.0),
            };
            let declaration = Declaration::new(Start::Constant(start)).undecayed();
            let watched = quantities.and_then(|of| match role {
                Role::Gain | Role::Bias | Role::RootGain | Role::Spread | Role::Rescale => None,
                Role::Direction | Role::Running | Role::Drift | Role::Window => None,
                Role::Alpha => Some((of.alpha, 0)),
                Role::Shift => Some((of.shift, 0)),
                Role::Lambda => Some((of.lambda, 0)),
                Role::Taper | Role::Held => Some((of.scale, 1)),
            });
            let declaration = match role {
                Role::Gain | Role::Bias | Role::RootGain => declaration,
                _ => declaration.added(),
            };
            let declaration = match watched {
                None => declaration,
                Some((quantity, at)) => declaration.watched(quantity, at..at + 1, layer..layer + 1),
            };
            let dims = if rows > 1 { vec![rows, width] } else { vec![width] };
            site.declare(&format!("{name}.{suffix}"), &dims, declaration)
        };
        let learned = norm.parameters.iter().map(|of| declare(of.name, of.role)).collect();
        let removal = before.removal(site.layer).filter(|_| norm.removes.is_some());
        Self {
            norm,
            before,
            layer: site.layer,
            learned,
            function: norm.function(config.norm_function),
            epsilon: config.layer_norm_epsilon as f32,
            inverse_kappa: (1.0 / config.kappa) as f32,
            context: config.n_positions,
            removal: removal.map(|place| place.pair(config.n_layer)),
            result: match stream {
                Stream::Branch => site.precision.operands(),
                Stream::Residual => DType::F32,
            },
        }
    }

    /// The norm `name` of attention as values read it, if that has a state of its own: the same γ and β.
    pub fn for_values(&self, site: &mut Site<'_>, name: &str) -> Option<Self> {
        let place = self.place_of(Role::Held)?;
        let mut learned = self.learned.clone();
        let declaration = Declaration::new(Start::Constant(1.0)).undecayed().added();
        learned[place] = site.declare(&format!("{name}.held_values"), &[2], declaration);
        let pair = Removal::Value(site.block()).pair(site.config.n_layer);
        Some(Self { learned, removal: Some(pair), ..self.clone() })
    }

    /// The state of a norm that is on its way out, with its schedule and its pair there. Only training follows a schedule.
    pub fn state(&self, schedules: [Option<TensorId>; 2]) -> Option<((TensorId, usize), TensorId, Running)> {
        let [taper, removal] = schedules;
        if let (Some(schedule), Some(state)) = (taper, self.learned_as(Role::Taper)) {
            return Some(((schedule, 0), state, Running::Scale));
        }
        Some(((removal?, self.removal?), self.learned_as(Role::Held)?, Running::Deviation))
    }

    /// Records the norm of `x`; nothing for the identity. With `layers`, also what is observed of it.
    pub fn apply(&self, tape: &mut Tape, x: TensorId, layers: bool) -> TensorId {
        self.apply_after(tape, x, layers, None).y
    }

    /// The same with what the block's first norm hands on.
    pub fn apply_after(&self, tape: &mut Tape, x: TensorId, layers: bool, first: Option<First>) -> Normed {
        let Some(record) = self.norm.record else { return x.into() };
        let Self { learned, epsilon, inverse_kappa, function, result, .. } = self;
        let (&epsilon, &inverse_kappa, &function, &result) = (epsilon, inverse_kappa, function, result);
        let schedule = tape.find(names::STATISTICS);
        let normed =
            record(tape, &Place { x, learned, epsilon, inverse_kappa, first, function, schedule, result });
        let schedules = [names::TAPER, names::REMOVAL].map(|name| tape.find(name));
        if let (Some(scales), Some((schedule, state, running))) = (normed.scales, self.state(schedules)) {
            tape.taper_scale(scales, schedule, running, state);
        }
        if layers && function.is_some() {
            tape.observing(|tape| self.observe(tape, x));
        }
        normed
    }

    /// What `second`, the other norm of a sequential block, may take from this one, whose mean squares are `variance`:
    /// BHyT's estimate of what `attention` adds to them. Where keys and values have matrices of their own, the second norm
    /// measures for itself.
    pub fn hands_on(
        &self,
        tape: &mut Tape,
        variance: Option<TensorId>,
        attention: &Attention,
        second: &Self,
    ) -> Option<First> {
        let variance = variance.filter(|_| self.learned_as(Role::Lambda).is_some())?;
        second.learned_as(Role::Lambda)?;
        let lambda = self.learned_as(Role::Lambda)?;
        let [packed, output] = attention.matrices(tape)?;
        let width = tape.shape(output).dims()[0];
        let factor = self.inverse_kappa.powi(2) / (self.context * width) as f32;
        let added = tape.attention_variance(packed, output, lambda, factor);
        Some(First { variance, added, lambda })
    }

    /// The learned tensor in that role, if the norm has one.
    pub fn learned_as(&self, role: Role) -> Option<TensorId> {
        self.place_of(role).map(|place| self.learned[place])
    }

    fn place_of(&self, role: Role) -> Option<usize> {
        self.norm.parameters.iter().position(|learned| learned.role == role)
    }

    /// Records how much of `x` a bounded norm saturates.
    fn observe(&self, tape: &mut Tape, x: TensorId) {
        let Some(quantities) = self.before.quantities() else { return };
        let layer = self.layer.unwrap_or(0);
        let measures = tape.observation(&names::saturation(self.before.word(), layer), &[MEASURES]);
        for (at, quantity) in quantities.above.into_iter().chain([quantities.gain]).enumerate() {
            tape.watch(measures, quantity, layer, at..at + 1);
        }
        let gamma = self.learned_as(Role::Gain).expect("a bounded norm has γ");
        tape.saturation(
            x,
            Saturated { gamma, alpha: self.learned_as(Role::Alpha), shift: self.learned_as(Role::Shift) },
            measures,
        );
    }
}
