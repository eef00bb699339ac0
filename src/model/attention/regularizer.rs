//! The entropy regularizer of attention (arXiv 2501.03489), and its contribution to the loss of the whole model.

use super::guided::guiding;
use crate::model::config::{EntropyPenalty, ModelConfig};
use crate::model::family::THRESHOLDS;
use crate::model::names;
use crate::model::pass::{Accumulation, Pass, Precision};
use crate::model::site::Site;
use crate::observe::quantities;
use crate::ops::entropy_penalty::{self, Penalized};
use crate::tape::{DType, Tape, TensorId};

/// The thresholds `[n_head]` of one attention and its entropy penalty, or nothing.
pub(super) struct Regularizer(Option<(TensorId, Cost)>);

/// The entropy penalty of a head.
struct Cost {
    penalty: EntropyPenalty,
    margin: f64,
    /// λ, and the number of heads in the model over which it is averaged.
    weight: f64,
    heads: f64,
}

impl Regularizer {
    /// Declares the thresholds if there is a regularizer.
    pub fn declare(site: &mut Site<'_>) -> Self {
        let (config, layer) = (site.config, site.block());
        let name = format!("{}.{THRESHOLDS}", site.name("attention"));
        Self(config.regularizes_entropy().then(|| {
            let threshold = guiding(config.entropy_threshold_init);
            let threshold = threshold.watched(&quantities::THRESHOLDS, 0..config.n_head, layer..layer + 1);
            let cost = Cost {
                penalty: config.entropy_penalty,
                margin: config.entropy_margin,
                weight: config.entropy_regularization,
                heads: (config.n_layer * config.n_head) as f64,
            };
            (site.declare(&name, &[config.n_head], threshold), cost)
        }))
    }

    /// Whether attention must output its entropies.
    pub fn wants_entropy(&self, pass: &Pass) -> bool {
        self.0.is_some() && pass.training
    }

    /// Records the entropy penalty of `layer`; nothing without a regularizer or outside of training.
    pub fn apply(&self, tape: &mut Tape, pass: &Pass, layer: usize, entropy: Option<TensorId>) {
        let (Some((threshold, cost)), Some(entropy), true) = (&self.0, entropy, pass.training) else {
            return;
        };
        // A sum over the rows of a step is the sum over its micro-batches; every mean is averaged over them.
        let sums = cost.penalty == EntropyPenalty::RowSum && pass.accumulation == Accumulation::Mean;
        let micro_batches = if sums { 1.0 } else { pass.micro_batches as f64 };
        let op = entropy_penalty::EntropyPenalty {
            of: match cost.penalty {
                EntropyPenalty::RowSum => Penalized::RowSum,
                EntropyPenalty::RowMean => Penalized::RowMean,
                EntropyPenalty::HeadMean => Penalized::HeadMean,
            },
            margin: cost.margin,
            weight: cost.weight / (cost.heads * micro_batches),
        };
        let heads = tape.shape(*threshold).elements();
        let penalty = tape.observation(&names::entropy_penalty(layer), &[heads]);
        tape.watch(penalty, &quantities::ENTROPY_PENALTY, layer, 0..heads);
        let scaling = loss_scale(tape, pass.precision);
        tape.entropy_penalty(op, (entropy, *threshold), penalty, scaling);
    }
}

/// The roots of a whole model's gradient: the cross-entropy, the entropy penalty of each layer, and the loss of the scale.
pub(in crate::model) fn losses(tape: &Tape, config: &ModelConfig, cross_entropy: TensorId) -> Vec<TensorId> {
    let penalties = (0..config.n_layer).filter_map(|layer| tape.find(&names::entropy_penalty(layer)));
    [cross_entropy].into_iter().chain(penalties).chain(tape.find(names::SCALE_LOSS)).collect()
}

/// The loss scale's state, in mixed precision.
pub(in crate::model) fn loss_scale(tape: &mut Tape, precision: Precision) -> Option<TensorId> {
    let declared = tape.find(names::LOSS_SCALE);
    (precision == Precision::Mixed)
        .then(|| declared.unwrap_or_else(|| tape.input(names::LOSS_SCALE, &[4], DType::F32)))
}
