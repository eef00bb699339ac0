//! Moves tensors to the device without holding staging memory for all of them at once.

use super::checkpoint::{Checkpoint, MISFIT, ModelTensors, TensorSource, WeightFile};
use super::engine::Engine;
use super::run_folder::RunFolder;
use crate::config::Config;
use crate::device::{Device, Store};
use crate::fault::{Fault, Kind, Result};
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
/// Those of [`WeightFile::open_to_start`], [`hub::check`] and [`WeightFile::check_finite`]. Weights that do not fit are refused
/// with the keys that differ, if a description of their model lies beside them.
pub(super) fn open_start(path: &Path, config: &Config, layout: &ModelTensors) -> Result<WeightFile> {
    let folder = if path.is_dir() { path } else { files::folder_of(path) };
    let mut weights = WeightFile::open_to_start(path, layout).map_err(|fault| {
        if fault.what() != MISFIT {
            return of_whole_run(path).unwrap_or(fault);
        }
        let known = Checkpoint::model_at(folder);
        let known = known.as_ref().map(|(path, model)| (path.as_path(), model.clone()));
        hub::misfit(folder, known, &config.model).unwrap_or(fault)
    })?;
    hub::check(folder, &config.model)?;
    weights.check_finite()?;
    Ok(weights)
}

/// The refusal of a run's folder where the weights of one step are wanted; `None` if `path` is none.
fn of_whole_run(path: &Path) -> Option<Fault> {
    let run = RunFolder::is_at(path).then(|| RunFolder::read(path).ok())??;
    let fault = Fault::new(Kind::Checkpoint, "a run starts from the weights of one checkpoint")
        .at("train.init_from")
        .found(format!("the folder of a run, {}", path.display()));
    Some(match Checkpoint::latest_at_a_glance(&run) {
        Ok(Some(latest)) => {
            fault.remedy(format!("give its newest checkpoint: {}", latest.checkpoint.path().display()))
        }
        _ => fault.remedy("the run has no checkpoint yet: give that of another run"),
    })
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
pub fn load_weights(engine: &Engine, mut file: WeightFile) -> Result<()> {
    load(&engine.device, &engine.store, &mut file)?;
    engine.copy_weights()
}

/// Copies the tensors of a source into the memory of the same names, one at a time.
///
/// # Errors
/// Those of reading the source and of [`Device::check`].
pub fn load(device: &Device, store: &Store, source: &mut dyn TensorSource) -> Result<()> {
    let mut loader = Loader::new(device, store);
    for (i, spec) in source.specs().into_iter().enumerate() {
        loader.write(&spec.name, &source.read(i)?)?;
    }
    Ok(())
}

/// Writes the tensors of a weight file into a store: what a reader of the model takes.
pub fn from_file(mut file: WeightFile) -> impl FnOnce(&Device, &Store) -> Result<()> {
    move |device, store| load(device, store, &mut file)
}

/// Writes the tensors of a source into a store, as [`from_file`] does those of a file.
pub fn from_source(mut source: Box<dyn TensorSource>) -> impl FnOnce(&Device, &Store) -> Result<()> {
    move |device, store| load(device, store, &mut *source)
}

/// Writes the weights with which a run begins: those of `init_from`, or fresh ones.
///
/// # Errors
/// Those of [`open_start`], of reading the file and of [`Device::check`].
pub(super) fn begin(engine: &Engine, config: &Config, init_from: Option<&Path>) -> Result<()> {
    let Some(path) = init_from else { return fresh_weights(engine, config) };
    let layout = layout(config);
    let mut file = open_start(path, config, &layout)?;
    // Parameters that the file lacks start as in a fresh model.
    if file.len() < layout.held().len() {
        fresh_weights(engine, config)?;
    }
    load(&engine.device, &engine.store, &mut file)?;
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
