//! The weights of a model whose norms are all removed, or whose matrices are scaled, as those of the same model without that.

use std::path::Path;

use super::checkpoint::{NamedTensor, Spec, TensorSource, WeightFile, export};
use super::loader::layout;
use crate::config::Config;
use crate::fault::Result;
use crate::model::fold::{Values, fold};
use crate::model::unscaled;

/// Folds `weights` of a model with fake norms and writes them to `path`, as those of `target`, the same model without norms.
///
/// # Errors
/// Those of reading, of [`fold`], and of writing.
pub fn write_folded(config: &Config, weights: WeightFile, target: &Config, path: &Path) -> Result<()> {
    let values = fold(&config.model, read(weights)?)?;
    export(path, &layout(target), &mut tensors(target, values))
}

/// `weights` as those of a model whose matrices are what products read, and its configuration: the same ones, if nothing scales them.
///
/// # Errors
/// Those of reading.
pub fn plain(config: &Config, weights: WeightFile) -> Result<(Config, Box<dyn TensorSource>)> {
    if !config.model.scales_matrices() && config.model.scale_loss == 0.0 {
        return Ok((config.clone(), Box::new(weights)));
    }
    let (model, values) = unscaled(&config.model, read(weights)?);
    let config = Config { model, ..config.clone() };
    let tensors = tensors(&config, values);
    Ok((config, Box::new(tensors)))
}

/// All values of a weight file.
fn read(mut weights: WeightFile) -> Result<Values> {
    let mut values = Values::new();
    for index in 0..weights.len() {
        let NamedTensor { name, data, .. } = weights.read(index)?;
        values.insert(name, data);
    }
    Ok(values)
}

/// The tensors of a model with these values.
fn tensors(config: &Config, mut values: Values) -> Vec<NamedTensor> {
    let tensor = |spec: Spec| {
        let data = values.remove(&spec.name).expect("every parameter has values");
        NamedTensor { name: spec.name, shape: spec.shape, data }
    };
    layout(config).held().into_iter().map(tensor).collect()
}
