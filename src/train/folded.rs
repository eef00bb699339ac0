//! The weights of a model whose norms are all removed, as a weight file of the same model without norms.

use std::path::Path;

use super::checkpoint::{NamedTensor, WeightFile, export};
use super::loader::layout;
use crate::config::Config;
use crate::fault::Result;
use crate::model::fold::{Values, fold};

/// Folds `weights` of a model with fake norms and writes them to `path`, as those of `target`, the same model without norms.
///
/// # Errors
/// Those of reading, of [`fold`], and of writing.
pub fn write_folded(config: &Config, mut weights: WeightFile, target: &Config, path: &Path) -> Result<()> {
    let mut values = Values::new();
    for index in 0..weights.len() {
        let NamedTensor { name, data, .. } = weights.read(index)?;
        values.insert(name, data);
    }
    let mut values = fold(&config.model, values)?;
    let layout = layout(target);
    let tensors: Vec<NamedTensor> = (layout.held().into_iter())
        .map(|spec| {
            let data = values.remove(&spec.name).expect("every parameter is folded");
            NamedTensor { name: spec.name, shape: spec.shape, data }
        })
        .collect();
    export(path, &layout, &mut tensors.as_slice())
}
