//! Decoder families as tape code, forward only, and how their parameters start.

mod block;
mod gpt2;
pub(crate) use gpt2::SHARED_SLOPE;
mod initial;

pub use initial::initial_values;

use crate::config::{Family, ModelConfig, Precision, Recompute};
use crate::tape::{Tape, TensorId};

/// What a micro-batch looks like and what is recorded for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// Sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub sequence: usize,
    /// Micro-batches of a step; observations are averaged over them.
    pub micro_batches: usize,
    /// Forward and backward with dropout, or forward alone without.
    pub training: bool,
    /// Measure the entropy of every head.
    pub entropy: bool,
    /// Look at what the layers hold, in replays where that is wanted.
    pub layers: bool,
    /// The largest piece of logits, in bytes.
    pub piece_bytes: u64,
    /// What the backward pass makes again.
    pub recompute: Recompute,
    /// With mixed precision, products and attention work on f16 copies of the matrices and f16 activations.
    pub precision: Precision,
}

/// Names of the tensors the host fills and reads; every tape of a run shares them.
pub mod names {
    /// u32 [B·T].
    pub const TOKENS: &str = "tokens";
    /// u32 [B·T]; `u32::MAX` where a position does not count.
    pub const TARGETS: &str = "targets";
    /// u32 [B·T]: positions sorted by token.
    pub const SORTED: &str = "sorted";
    /// u32 [B·T + 1]: where each token's positions start in `sorted`.
    pub const SEGMENTS: &str = "segments";
    /// f32 [1]: the weight of a position in the loss.
    pub const SCALE: &str = "scale";
    /// f32 [4]: the loss scale of mixed precision, and how it came about; see `ops::gradient_norm`.
    pub const SCALING: &str = "loss scale";
    /// u32 [4]: what dropout is drawn from.
    pub const DROPOUT_KEY: &str = "dropout key";
    /// f32 [1].
    pub const LOSS: &str = "loss";

    /// f32 [n_head]: mean entropy of each head of a layer.
    pub fn head_entropy(layer: usize) -> String {
        format!("head entropy {layer}")
    }

    /// f32 [n_head]: what the entropies of a layer's heads cost, λ included.
    pub fn entropy_penalty(layer: usize) -> String {
        format!("entropy penalty {layer}")
    }

    /// f32 [n_inner]: tokens of a micro-batch for which each unit of a layer's feed-forward network is not zero.
    pub fn active_units(layer: usize) -> String {
        format!("active units {layer}")
    }

    /// f32 [3]: norm, largest and median magnitude of the residual stream behind a layer.
    pub fn residual(layer: usize) -> String {
        format!("residual stream {layer}")
    }

    /// f32 [2]: norm and largest magnitude of the gradient of a layer's parameters.
    pub fn layer_gradient(layer: usize) -> String {
        format!("layer gradient {layer}")
    }

    /// f32 [n_head]: rows of each head whose probabilities are not finite.
    pub fn nonfinite(layer: usize) -> String {
        format!("nonfinite {layer}")
    }
}

/// A model on a tape.
pub struct Recorded {
    pub tape: Tape,
    pub loss: TensorId,
}

/// Records a model for one kind of pass.
pub fn record(config: &ModelConfig, pass: &Pass) -> Recorded {
    match config.family {
        Family::Gpt2 => gpt2::record(config, pass),
    }
}

/// A trained tensor: its name, its shape, whether weight decay pulls at it, and whether it has an f16 copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    pub decays: bool,
    pub copied: bool,
}

impl Parameter {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The trained tensors of a model, in the order of the Hugging Face file. Matrices, embeddings and, if
/// `decay_slopes`, slopes decay; biases, LayerNorm, temperatures, entropy thresholds and the scales of a feed-forward
/// network do not, as in the code behind arXiv 2501.03489. In mixed precision matrices and the token table, which
/// is the head as well, have copies.
pub fn parameters(config: &ModelConfig, decay_slopes: bool, precision: Precision) -> Vec<Parameter> {
    // What is recorded is what there is: the smallest pass declares every parameter once.
    let pass = Pass {
        batch: 1,
        sequence: 1,
        micro_batches: 1,
        training: false,
        entropy: false,
        layers: false,
        piece_bytes: 1 << 27,
        recompute: Recompute::None,
        precision,
    };
    let tape = record(config, &pass).tape;
    let describe = |id: TensorId| {
        let info = tape.info(id);
        let slope = info.name.ends_with(".slopes");
        let temperature = info.name.ends_with(".temperature");
        let decays = if slope { decay_slopes } else { info.shape.dims().len() > 1 && !temperature };
        let copied = tape.known_half(id).is_some();
        Parameter { name: info.name.clone(), shape: info.shape.dims().to_vec(), decays, copied }
    };
    tape.parameters().into_iter().map(describe).collect()
}
