//! Decoders as tape code, forward only, and how their parameters start.
//!
//! A model is made of parts, and each kind of part is a table of plain data and recording functions: [`family`],
//! [`network`], [`join`], and in `ops/` norms and activations. `block.rs` and `decoder.rs` put together whatever rows a
//! [`ModelConfig`] picks, and name none of them.

mod activate;
mod attention;
mod block;
pub mod config;
mod decoder;
pub mod family;
mod initial;
pub mod join;
pub mod network;
mod normalize;
pub mod pass;
mod site;

pub use config::ModelConfig;
pub use initial::initial_values;
pub use pass::{CachedPass, Pass};

use decoder::Decoder;
use pass::Precision;

use crate::tape::{Decays, Declaration, Tape, TensorId};

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
    /// f32 `[1]`: the weight of a position in the loss.
    pub const TARGET_WEIGHT: &str = "scale";
    /// f32 `[4]`: the loss scale of mixed precision, and how it came about; see `ops::gradient_norm`.
    pub const LOSS_SCALE: &str = "loss scale";
    /// u32 `[4]`: what dropout is drawn from.
    pub const DROPOUT_KEY: &str = "dropout key";
    /// u32 `[rows]`: the place of each row in the text, in passes that read for generation.
    pub const POSITIONS: &str = "positions";
    /// u32 [n_head, rows]: the place of each row's temperature in the table of every layer, in such passes.
    pub const TEMPERATURES: &str = "temperatures";
    /// f32 `[vocab_size]`: what the row leads to, in such passes.
    pub const LOGITS: &str = "logits";
    /// f32 `[1]`.
    pub const LOSS: &str = "loss";

    /// f32 `[n_head]`: mean entropy of each head of a layer.
    pub fn head_entropy(layer: usize) -> String {
        format!("head entropy {layer}")
    }

    /// f32 `[n_head]`: what the entropies of a layer's heads cost, λ included.
    pub fn entropy_penalty(layer: usize) -> String {
        format!("entropy penalty {layer}")
    }

    /// f32 `[n_inner]`: tokens of a micro-batch for which each unit of a layer's feed-forward network is not zero.
    pub fn active_units(layer: usize) -> String {
        format!("active units {layer}")
    }

    /// f32 `[3]`: norm, largest and median magnitude of the residual stream behind a layer.
    pub fn residual(layer: usize) -> String {
        format!("residual stream {layer}")
    }

    /// f32 `[2]`: norm and largest magnitude of the gradient of a layer's parameters.
    pub fn layer_gradient(layer: usize) -> String {
        format!("layer gradient {layer}")
    }

    /// f32 [n_positions, 2·n_embd]: keys and values of what was read so far, in passes that read for generation.
    pub fn cache(layer: usize) -> String {
        format!("cache {layer}")
    }

    /// f32 `[n_head]`: rows of each head whose probabilities are not finite.
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
    let mut tape = Tape::new();
    Decoder::declare(&mut tape, config, pass.precision).record(tape, config, pass)
}

/// Records a model for a pass that reads tokens for generation. Inputs are [`names::TOKENS`] and [`names::POSITIONS`], observations
/// [`names::LOGITS`] and each layer's [`names::cache`].
pub fn record_reading(config: &ModelConfig, reading: &CachedPass) -> Tape {
    let mut tape = Tape::new();
    Decoder::declare(&mut tape, config, Precision::F32).record_reading(tape, config, reading)
}

/// A trained tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    /// What else the model says of it.
    pub declared: Declaration,
    /// Whether weight decay pulls at it.
    pub decays: bool,
    /// Whether it has an f16 copy.
    pub copied: bool,
}

impl Parameter {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The trained tensors of a model, in the order of the Hugging Face file. Slopes decay if `decay_slopes`. In mixed precision
/// matrices and the head have copies; a tied head is the token table.
pub fn parameters(config: &ModelConfig, decay_slopes: bool, precision: Precision) -> Vec<Parameter> {
    let mut tape = Tape::new();
    Decoder::declare(&mut tape, config, precision);
    let describe = |id: TensorId| {
        let info = tape.info(id);
        let declared = info.declaration.as_deref().expect("a parameter is declared").clone();
        let decays = match declared.decays {
            Decays::Always => true,
            Decays::Never => false,
            Decays::AsSlopes => decay_slopes,
        };
        let copied = tape.known_half(id).is_some();
        Parameter { name: info.name.clone(), shape: info.shape.dims().to_vec(), declared, decays, copied }
    };
    tape.parameters().into_iter().map(describe).collect()
}

/// How many numbers a model has to train. A tied head counts once; biases frozen at zero do not count.
pub fn parameter_count(config: &ModelConfig) -> usize {
    parameters(config, false, Precision::F32).iter().map(Parameter::elements).sum()
}
