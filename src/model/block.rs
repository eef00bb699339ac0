//! The parts every decoder block is made of.

use crate::config::{Activation, Bias, ModelConfig, Norm, Precision, SlopeScope};
use crate::ops::activation::Kind;
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
