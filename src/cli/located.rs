//! Which checkpoint a path means.

use super::Global;
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::train::checkpoint::{Checkpoint, ModelTensors, WeightFile};
use crate::train::run_folder::RunFolder;
use std::path::Path;

/// An opened checkpoint with its run and weights.
pub(super) struct Located {
    pub run: RunFolder,
    pub config: Config,
    pub checkpoint: Checkpoint,
    pub weights: WeightFile,
}

/// The run and checkpoint that `path` names.
pub(super) fn locate(path: &Path, global: &Global) -> Result<Located> {
    if path.join("trainer_state.json").is_file() {
        let whole = path.canonicalize().map_err(|e| Fault::io("open the checkpoint", path, &e))?;
        // RUN/checkpoints/step-N
        let run = RunFolder::read(whole.parent().and_then(Path::parent).unwrap_or(Path::new("/")))?;
        let config = Config::load_of_run(&run.config(), &[])?;
        let checkpoint = Checkpoint::open(path)?;
        let weights = checkpoint.model(&layout(&config))?;
        return Located { run, config, checkpoint, weights }.checked();
    }
    let run = RunFolder::read(path)?;
    let config = Config::load_of_run(&run.config(), &[])?;
    let Some((latest, weights)) = Checkpoint::newest(&run, &layout(&config))? else {
        return Err(Fault::new(Kind::Checkpoint, "the run has no checkpoint yet")
            .at(run.checkpoints().display())
            .remedy("wait for the first one: train.checkpoint_every says when it is written"));
    };
    for fault in &latest.skipped {
        global.note(format!("skipped a damaged checkpoint: {fault}"));
    }
    Located { run, config, checkpoint: latest.checkpoint, weights }.checked()
}

impl Located {
    /// The configuration defines the model: weights with another number of heads look the same.
    fn checked(self) -> Result<Self> {
        self.checkpoint.check_configuration(&self.config)?;
        Ok(self)
    }
}

/// The layout of a model's weights in its files.
pub(super) fn layout(config: &Config) -> ModelTensors {
    let parameters =
        crate::model::parameters(&config.model, config.train.decay_slopes, config.train.precision);
    ModelTensors::of(config.model.family, &parameters)
}
