//! Moves tensors to the device without holding staging memory for all of them at once.

use super::checkpoint::{ModelTensors, WeightFile};
use super::engine::Engine;
use crate::config::Config;
use crate::device::{Device, Store};
use crate::fault::Result;
use crate::files;
use crate::hub;
use crate::model::{initial_values, parameters};
use std::path::Path;

/// Checks that a run can start from the weights that `train.init_from` names, if any. Needs no device.
///
/// # Errors
/// Those of [`WeightFile::open_to_start`], and those of a `config.json` beside the weights.
pub fn check_start(config: &Config) -> Result<()> {
    let Some(path) = &config.train.init_from else { return Ok(()) };
    open_start(Path::new(path), config, &layout(config)).map(drop)
}

/// Opens the weights at `path` to start a run from. A `config.json` beside them must describe the run's model.
///
/// # Errors
/// Those of [`WeightFile::open_to_start`], [`hub::check`] and [`WeightFile::check_finite`].
pub(super) fn open_start(path: &Path, config: &Config, layout: &ModelTensors) -> Result<WeightFile> {
    let mut weights = WeightFile::open_to_start(path, layout)?;
    hub::check(if path.is_dir() { path } else { files::folder_of(path) }, &config.model)?;
    weights.check_finite()?;
    Ok(weights)
}

/// The layout of a model's weights in its files.
pub fn layout(config: &Config) -> ModelTensors {
    let parameters = parameters(&config.model, config.train.decay_slopes, config.train.precision);
    ModelTensors::of(config.model.family, &parameters)
}

/// Copies the tensors of a weight file to the device, one at a time, and makes their f16 copies.
///
/// # Errors
/// Those of reading the file and of [`Device::check`].
pub fn load_weights(engine: &Engine, file: WeightFile) -> Result<()> {
    load(&engine.device, &engine.store, file)?;
    engine.copy_weights()
}

/// Copies the tensors of a weight file into the memory of the same names, one at a time.
///
/// # Errors
/// Those of reading the file and of [`Device::check`].
pub fn load(device: &Device, store: &Store, mut file: WeightFile) -> Result<()> {
    let mut loader = Loader::new(device, store);
    for i in 0..file.len() {
        let tensor = file.read(i)?;
        loader.write(&tensor.name, &tensor.data)?;
    }
    Ok(())
}

/// Writes the tensors of a weight file into a store: what a reader of the model takes.
pub fn from_file(file: WeightFile) -> impl FnOnce(&Device, &Store) -> Result<()> {
    move |device, store| load(device, store, file)
}

/// Writes the weights with which a run begins: those of `init_from`, or fresh ones.
///
/// # Errors
/// Those of [`open_start`], of reading the file and of [`Device::check`].
pub(super) fn begin(engine: &Engine, config: &Config, init_from: Option<&Path>) -> Result<()> {
    let Some(path) = init_from else { return fresh_weights(engine, config) };
    let layout = layout(config);
    let file = open_start(path, config, &layout)?;
    // Parameters that the file lacks start as in a fresh model.
    if file.len() < layout.held().len() {
        fresh_weights(engine, config)?;
    }
    load(&engine.device, &engine.store, file)?;
    engine.settle()?;
    engine.copy_weights()
}

/// Copies a configuration's initial values to the device and makes their f16 copies.
///
/// # Errors
/// Those of [`Device::check`].
pub fn fresh_weights(engine: &Engine, config: &Config) -> Result<()> {
    let mut loader = Loader::new(&engine.device, &engine.store);
    for parameter in engine.blueprint.arenas.parameters() {
        let values = initial_values(config.train.seed, parameter);
        loader.write(&parameter.name, &values)?;
    }
    engine.settle()?;
    engine.copy_weights()
}

/// Writes many tensors without holding staging memory for all of them at once.
pub(super) struct Loader<'a> {
    device: &'a Device,
    store: &'a Store,
    /// Bytes written since the device last took them.
    staged: usize,
}

impl<'a> Loader<'a> {
    pub fn new(device: &'a Device, store: &'a Store) -> Self {
        Self { device, store, staged: 0 }
    }

    pub fn write(&mut self, name: &str, values: &[f32]) -> Result<()> {
        /// As much staging memory as checkpoints use for reading.
        const MOST: usize = 16 << 20;
        self.store.write(self.device, name, values);
        self.staged += size_of_val(values);
        if self.staged >= MOST {
            self.staged = 0;
            self.device.flush()?;
        }
        Ok(())
    }
}
