//! Decoders as tape code, forward only, and the initial values of their parameters.
//!
//! A model consists of parts, and each kind of part is a table of plain data and recording functions: [`family`],
//! [`network`], [`join`], and in `ops/` norms and activations. `block.rs` and `decoder.rs` combine the rows that a
//! [`ModelConfig`] selects, and name none of them.

mod activate;
mod attention;
mod block;
pub mod config;
mod decoder;
pub mod family;
pub mod fold;
mod gains;
mod initial;
pub mod join;
pub mod names;
pub mod network;
mod normalize;
mod parameter;
pub mod pass;
mod plain;
pub mod removal;
mod rows;
mod site;
mod weight_norm;

pub use config::ModelConfig;
pub use decoder::Recorded;
pub use initial::initial_values;
pub use parameter::{Parameter, parameter_count, parameters};
pub use pass::{CachedPass, Pass};
pub use plain::unscaled;

use decoder::Decoder;
use pass::Precision;

use crate::tape::Tape;

/// Records a model for one kind of pass.
pub fn record(config: &ModelConfig, pass: &Pass) -> Recorded {
    let mut tape = Tape::new();
    Decoder::declare(&mut tape, config, pass.precision).record(tape, config, pass)
}

/// Records a model for a pass that reads tokens for generation. Inputs are [`names::READ`] and [`names::POSITIONS`],
/// observations are [`names::LOGITS`] and each layer's [`names::cache`].
pub fn record_reading(config: &ModelConfig, reading: &CachedPass) -> Tape {
    let mut tape = Tape::new();
    Decoder::declare(&mut tape, config, Precision::F32).record_reading(tape, config, reading)
}
