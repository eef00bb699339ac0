//! What entropy-guided training (arXiv 2501.03489) adds to a block: temperatures, the regularizer, scales of the residual
//! sum.

use super::block::{Linear, Rows};
use super::naming::THRESHOLDS;
use super::{Pass, names};
use crate::config::{Accumulation, EntropyPenalty, ModelConfig, Precision};
use crate::ops::entropy_penalty::{self, Of};
use crate::tape::{DType, Declaration, Filed, Start, Tape, TensorId};

/// What entropy-guided training adds to block `layer`: weight decay leaves it alone, as in the code behind arXiv
/// 2501.03489, and a weight file may lack it.
fn learned(start: f64, layer: usize) -> Declaration {
    Declaration::new(Start::Constant(start)).undecayed().in_block(layer).added()
}

/// The learned temperature of attention, or nothing.
pub(super) struct Temperature(Option<TensorId>);

impl Temperature {
    /// Declares `name.temperature` [n_head, n_positions] where one is learned. `name` is that of the attention.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, (name, layer): (&str, usize)) -> Self {
        let dims = [config.n_head, config.n_positions];
        Self(config.learnable_temperature.then(|| {
            let filed = Filed::Matrix { heads: None, lacks_bias: false };
            let temperature = learned(config.temperature_init, layer).filed(filed);
            tape.declare_parameter(&format!("{name}.temperature"), &dims, temperature)
        }))
    }

    /// The packed rows as attention reads them. Without a temperature nothing is recorded.
    pub fn apply(&self, tape: &mut Tape, qkv: TensorId, rows: &Rows<'_>) -> TensorId {
        let Some(temperature) = self.0 else { return qkv };
        match rows {
            Rows::Sequences(pass) => tape.temperature(qkv, temperature, pass.sequence),
            Rows::Cached(cached) => {
                let (heads, _) = tape.shape(temperature).as_matrix();
                let count = tape.shape(cached.positions).elements();
                let known = tape.find(names::TEMPERATURES);
                let places =
                    known.unwrap_or_else(|| tape.input(names::TEMPERATURES, &[heads, count], DType::U32));
                let own = tape.gather_elements(places, temperature);
                tape.temperature(qkv, own, count)
            }
        }
    }
}

/// The entropy regularizer of one attention, or nothing.
pub(super) struct Regularizer {
    threshold: Option<TensorId>,
}

impl Regularizer {
    /// Declares the thresholds [n_head] where there is a regularizer. `name` is that of the attention.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, (name, layer): (&str, usize)) -> Self {
        let declare = || {
            let threshold = learned(config.entropy_threshold_init, layer);
            let threshold = threshold.watched(names::ENTROPY_THRESHOLDS, 0..config.n_head, layer..layer + 1);
            tape.declare_parameter(&format!("{name}.{THRESHOLDS}"), &[config.n_head], threshold)
        };
        Self { threshold: config.regularizes_entropy().then(declare) }
    }

    /// Whether attention must give its entropies.
    pub fn wants_entropy(&self, pass: &Pass) -> bool {
        self.threshold.is_some() && pass.training
    }

    /// Records what the entropies of `layer` cost; nothing where nothing is trained.
    pub fn apply(
        &self,
        tape: &mut Tape,
        config: &ModelConfig,
        pass: &Pass,
        layer: usize,
        entropy: Option<TensorId>,
    ) {
        let (Some(threshold), Some(entropy), true) = (self.threshold, entropy, pass.training) else { return };
        let heads = (config.n_layer * config.n_head) as f64;
        // A sum over the rows of a step is the sum over its micro-batches; every mean is averaged over them.
        let sums =
            config.entropy_penalty == EntropyPenalty::RowSum && pass.accumulation == Accumulation::Mean;
        let micro_batches = if sums { 1.0 } else { pass.micro_batches as f64 };
        let op = entropy_penalty::EntropyPenalty {
            of: match config.entropy_penalty {
                EntropyPenalty::RowSum => Of::RowSum,
                EntropyPenalty::RowMean => Of::RowMean,
                EntropyPenalty::HeadMean => Of::HeadMean,
            },
            margin: config.entropy_margin,
            weight: config.entropy_regularization / (heads * micro_batches),
        };
        let penalty = tape.observation(&names::entropy_penalty(layer), &[config.n_head]);
        let scaling = loss_scale(tape, pass.precision);
        tape.entropy_penalty(op, (entropy, threshold), penalty, scaling);
    }
}

/// What the gradient of a whole model starts from: the cross-entropy, and the entropy penalty of each layer.
pub(super) fn losses(tape: &Tape, config: &ModelConfig, cross_entropy: TensorId) -> Vec<TensorId> {
    let penalties = (0..config.n_layer).filter_map(|layer| tape.find(&names::entropy_penalty(layer)));
    [cross_entropy].into_iter().chain(penalties).collect()
}

/// The loss scale's state, in mixed precision.
pub(super) fn loss_scale(tape: &mut Tape, precision: Precision) -> Option<TensorId> {
    let declared = tape.find(names::SCALING);
    (precision == Precision::Mixed)
        .then(|| declared.unwrap_or_else(|| tape.input(names::SCALING, &[4], DType::F32)))
}

/// How what a block's feed-forward network makes meets the residual stream: x + FFN(x), or β·x + FFN(x)/α.
pub(super) struct Residual(Option<(TensorId, TensorId)>);

impl Residual {
    /// Declares `name.alpha` and `name.beta` [1] where the sum is scaled. `name` is that of the feed-forward network.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, (name, layer): (&str, usize)) -> Self {
        let mut scale = |which: &str, quantity| {
            let scale = learned(1.0, layer).watched(quantity, 0..1, layer..layer + 1);
            tape.declare_parameter(&format!("{name}.{which}"), &[1], scale)
        };
        Self(config.ffn_scaling.then(|| (scale("alpha", names::FFN_ALPHA), scale("beta", names::FFN_BETA))))
    }

    /// The residual stream behind the network, of which `last` is the last matrix and `f` what that reads.
    pub fn apply(&self, tape: &mut Tape, x: TensorId, last: &Linear, f: TensorId) -> TensorId {
        match self.0 {
            None => last.apply_onto(tape, x, f),
            Some((alpha, beta)) => {
                let y = last.apply(tape, f);
                tape.scaled_sum(x, y, alpha, beta)
            }
        }
    }
}
