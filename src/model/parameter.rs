//! The trained tensors of a model.

use super::config::ModelConfig;
use super::decoder::Decoder;
use super::pass::Precision;
use crate::tape::{Decays, Declaration, Tape, TensorId};

/// A trained tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    pub name: String,
    pub shape: Vec<usize>,
    /// The model's declaration of it, with its other properties.
    pub declared: Declaration,
    /// Whether weight decay applies to it.
    pub decays: bool,
    /// Whether it has an f16 copy.
    pub copied: bool,
}

impl Parameter {
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The trained tensors of a model, in the order of the Hugging Face file. Slopes decay if `decay_slopes`. In mixed
/// precision, matrices and the head have copies; a tied head is the token table.
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

/// The number of trained values in a model. A tied head counts once; biases frozen at zero do not count.
pub fn parameter_count(config: &ModelConfig) -> usize {
    parameters(config, false, Precision::F32).iter().map(Parameter::elements).sum()
}
