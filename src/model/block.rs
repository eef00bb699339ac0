//! The parts every decoder block is made of.

use super::{Pass, names};
use crate::config::{Activation, Bias, EntropyPenalty, ModelConfig, Norm, Precision, SlopeScope};
use crate::ops::activation::Kind;
use crate::ops::entropy_penalty::{self, Of};
use crate::tape::{DType, Tape, TensorId};

/// How products store what they read: their matrices, and the norms' results.
pub(super) fn operands(precision: Precision) -> DType {
    match precision {
        Precision::F32 => DType::F32,
        Precision::Mixed => DType::F16,
    }
}

/// What products read of a matrix: itself, or its f16 copy.
pub(super) fn operand(tape: &mut Tape, matrix: TensorId, precision: Precision) -> TensorId {
    match precision {
        Precision::F32 => matrix,
        Precision::Mixed => tape.half_copy(matrix),
    }
}

/// LayerNorm, or nothing.
pub(super) enum Normalization {
    LayerNorm { gamma: TensorId, beta: TensorId, epsilon: f32, result: DType },
    Identity,
}

impl Normalization {
    /// Declares the parameters of the norm `name` where `norm` asks for one.
    pub fn declare(
        tape: &mut Tape,
        config: &ModelConfig,
        precision: Precision,
        norm: Norm,
        name: &str,
    ) -> Self {
        match norm {
            Norm::None => Self::Identity,
            Norm::LayerNorm => Self::LayerNorm {
                gamma: tape.parameter(&format!("{name}.weight"), &[config.n_embd]),
                beta: tape.parameter(&format!("{name}.bias"), &[config.n_embd]),
                epsilon: config.layer_norm_epsilon as f32,
                result: operands(precision),
            },
        }
    }

    /// The identity records nothing.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        match *self {
            Self::LayerNorm { gamma, beta, epsilon, result } => {
                tape.layer_norm(x, (gamma, beta), epsilon, result)
            }
            Self::Identity => x,
        }
    }
}

/// A matrix with its bias, if it has one.
pub(super) struct Linear {
    weight: TensorId,
    bias: Option<TensorId>,
}

impl Linear {
    /// Declares `name.weight` [from, to] and a bias for its first `biased` columns.
    pub fn declare(
        tape: &mut Tape,
        precision: Precision,
        name: &str,
        (from, to): (usize, usize),
        biased: usize,
    ) -> Self {
        let weight = tape.parameter(&format!("{name}.weight"), &[from, to]);
        let weight = operand(tape, weight, precision);
        let bias = (biased > 0).then(|| tape.parameter(&format!("{name}.bias"), &[biased]));
        Self { weight, bias }
    }

    /// `x · W + b`.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        tape.linear(x, self.weight, self.bias)
    }

    /// `residual + x · W + b`.
    pub fn apply_onto(&self, tape: &mut Tape, residual: TensorId, x: TensorId) -> TensorId {
        tape.linear_onto(residual, x, self.weight, self.bias)
    }
}

/// Columns of a matrix with `to` columns that have a bias.
pub(super) fn biased(config: &ModelConfig, to: usize) -> usize {
    if config.bias == Bias::All { to } else { 0 }
}

/// Columns of the packed query, key and value matrix that have a bias.
pub(super) fn biased_attention(config: &ModelConfig) -> usize {
    match config.bias {
        Bias::QueryKey => 2 * config.n_embd,
        Bias::All => 3 * config.n_embd,
        Bias::None => 0,
    }
}

/// The feed-forward network's activation with its slope, or nothing.
pub(super) enum Activate {
    Function { kind: Kind, slope: Option<(TensorId, usize)> },
    Identity,
}

impl Activate {
    /// Declares the slope of block `layer` where the activation learns one. `shared` is the slope of the whole
    /// model, if there is such.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, layer: usize, shared: Option<TensorId>) -> Self {
        let kind = match config.activation_function {
            Activation::Gelu => Kind::Gelu,
            Activation::GeluNew => Kind::GeluNew,
            Activation::Relu => Kind::Relu,
            Activation::LeakyRelu => Kind::Leaky { slope: config.leaky_slope as f32 },
            Activation::LearnableLrelu => Kind::Learnable,
            Activation::None => return Self::Identity,
        };
        let own = |tape: &mut Tape, entries: usize| {
            tape.parameter(&format!("transformer.h.{layer}.mlp.act.slopes"), &[entries])
        };
        let slope = match (kind, config.slope_scope) {
            (Kind::Learnable, SlopeScope::PerLayer) => Some((own(tape, config.n_layer), layer)),
            (Kind::Learnable, SlopeScope::PerBlock) => Some((own(tape, 1), 0)),
            (Kind::Learnable, SlopeScope::Shared) => shared.map(|slope| (slope, 0)),
            _ => None,
        };
        Self::Function { kind, slope }
    }

    /// The identity records nothing.
    pub fn apply(&self, tape: &mut Tape, x: TensorId) -> TensorId {
        match *self {
            Self::Function { kind, slope } => tape.activation_function(x, kind, slope),
            Self::Identity => x,
        }
    }
}

/// The learned temperature of attention, or nothing.
pub(super) struct Temperature(Option<TensorId>);

impl Temperature {
    /// Declares `name.temperature` [n_head, n_positions] where one is learned. `name` is that of the attention.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, name: &str) -> Self {
        let dims = [config.n_head, config.n_positions];
        Self(config.learnable_temperature.then(|| tape.parameter(&format!("{name}.temperature"), &dims)))
    }

    /// The packed rows as attention reads them. Without a temperature nothing is recorded.
    pub fn apply(&self, tape: &mut Tape, qkv: TensorId, sequence: usize) -> TensorId {
        self.0.map_or(qkv, |temperature| tape.temperature(qkv, temperature, sequence))
    }
}

/// The entropy regularizer of one attention, or nothing.
pub(super) struct Regularizer {
    threshold: Option<TensorId>,
}

impl Regularizer {
    /// Declares `name.reg_threshold_weights` [n_head], as the code of arXiv 2501.03489 calls it, where there is a
    /// regularizer. `name` is that of the attention.
    pub fn declare(tape: &mut Tape, config: &ModelConfig, name: &str) -> Self {
        let declare = || tape.parameter(&format!("{name}.reg_threshold_weights"), &[config.n_head]);
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
        let heads = config.n_layer * config.n_head * pass.micro_batches;
        let op = entropy_penalty::EntropyPenalty {
            of: match config.entropy_penalty {
                EntropyPenalty::RowSum => Of::RowSum,
                EntropyPenalty::RowMean => Of::RowMean,
                EntropyPenalty::HeadMean => Of::HeadMean,
            },
            margin: config.entropy_margin,
            weight: config.entropy_regularization / heads as f64,
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
    pub fn declare(tape: &mut Tape, config: &ModelConfig, name: &str) -> Self {
        let scale = |tape: &mut Tape, which: &str| tape.parameter(&format!("{name}.{which}"), &[1]);
        Self(config.ffn_scaling.then(|| (scale(tape, "alpha"), scale(tape, "beta"))))
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
