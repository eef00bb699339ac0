//! Layouts of weight files, for tests that use parameters without a model.

use normfree::config::Family;
use normfree::model::Parameter;
use normfree::tape::{Declaration, Filed, Start};
use normfree::train::checkpoint::{ModelTensors, Spec};

/// The layout of a GPT-2 with these parameters, which says about each what the model would.
pub fn gpt2(parameters: &[Spec]) -> ModelTensors {
    let columns = |module: &str| {
        let weight = parameters.iter().find(|spec| spec.name == format!("{module}.weight"));
        weight.and_then(|spec| spec.shape.last().copied())
    };
    let declared = |spec: &Spec| {
        let (module, end) = spec.name.rsplit_once('.').unwrap_or_default();
        let lacks_bias = !parameters.iter().any(|other| other.name == format!("{module}.bias"));
        let filed = match (end, columns(module)) {
            _ if module.ends_with("wte") || module.ends_with("wpe") => Filed::Plain,
            ("weight", _) if spec.shape.len() == 2 => Filed::Matrix { heads: None, lacks_bias },
            ("bias", Some(columns)) => Filed::Bias { heads: None, columns },
            _ => Filed::Plain,
        };
        Parameter {
            name: spec.name.clone(),
            shape: spec.shape.clone(),
            declared: Declaration::new(Start::Constant(0.0)).filed(filed),
            decays: false,
            copied: false,
        }
    };
    ModelTensors::of(Family::GPT2, &parameters.iter().map(declared).collect::<Vec<_>>())
}
