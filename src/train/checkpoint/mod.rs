//! Checkpoints: everything a run needs to go on bit for bit.
//!
//! ```text
//! RUN/checkpoints/step-00000500/
//!     model.safetensors        the parameters, under Hugging Face's names of the family
//!     optimizer.safetensors    the optimizer's states, PREFIX.NAME (m. and v. of AdamW), in the shapes of the model
//!     config.json              what transformers reads: the model, for a stock class or this program's own
//!     trainer_state.json       step, data cursor, seed …; length and SHA-256 of the two files above, of the log, of the
//!                              data, and of itself
//! ```
//! The folder is written under another name, synced to disk and renamed, so a folder with its final name is whole. The
//! lengths and digests detect later damage.

mod fit;
mod keep;
mod layout;
mod state;
mod tensor_file;
mod tensor_files;
mod tensors;
mod weights;

use std::borrow::Cow;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::run_folder::RunFolder;
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::files;
use crate::hub::CONFIG_FILE;
use crate::model::ModelConfig;
use crate::optimizer::State;
use serde_json::Value;
use tensors::Watched;

pub(super) use fit::MISFIT;
pub(super) use keep::{is_settled, newest_finite, prune, tidy};
pub use layout::{Entry, Form, ModelTensors};
pub use state::{FORMAT_VERSION, TrainerState};
use state::{STATE, Seal, Sealing, StateFile, Unread};
use tensor_files::MODEL;
pub use tensors::{NamedTensor, Spec, TensorSource};
pub use weights::{WeightFile, export, import};

/// How often to look for a newer checkpoint if the chosen one is gone. Looking takes less time than it takes a training run
/// to write one.
const PRUNED: usize = 100;

const OPTIMIZER: &str = "optimizer.safetensors";

/// What a checkpoint is written from.
pub struct Snapshot<'a> {
    pub state: TrainerState,
    /// How the parameters lie in the file.
    pub layout: &'a ModelTensors,
    /// The `config.json` of the model.
    pub described: &'a Value,
    /// The parameters: those the layout [holds](ModelTensors::held), in any order.
    pub model: &'a mut dyn TensorSource,
    /// The optimizer's states, each under the names of the parameters and in their shapes.
    pub states: Vec<(State, &'a mut dyn TensorSource)>,
}

/// A checkpoint on disk that is known to be whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    path: PathBuf,
    state: TrainerState,
}

/// The newest whole checkpoint of a run, and what was wrong with newer ones.
#[derive(Clone, Debug)]
pub struct Latest {
    pub checkpoint: Checkpoint,
    /// One fault for each newer checkpoint that is damaged: these should be shown, not hidden.
    pub skipped: Vec<Fault>,
}

impl Checkpoint {
    /// Writes a checkpoint into `run`, which must be locked, and deletes the oldest ones so that `keep` are left, always
    /// including the new one. Returns its folder.
    ///
    /// # Errors
    /// [`Kind::Io`] if it cannot be written, [`Kind::Checkpoint`] if the tensors are not the layout's, and the errors of
    /// the sources. Older checkpoints are then unchanged.
    pub fn write(run: &RunFolder, snapshot: Snapshot, keep: usize) -> Result<PathBuf> {
        assert!(run.is_locked(), "checkpoints are written into locked run folders alone");
        let (step, folder) = (snapshot.state.step, run.checkpoints());
        let unfinished = keep::begin(&folder, step)?;
        if let Err(fault) = write_files(&unfinished, snapshot) {
            // Report the first fault; the next open clears away the leftovers.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(fault);
        }
        let path = keep::commit(&folder, step, &unfinished)?;
        keep::prune(&folder, step, keep)?;
        Ok(path)
    }

    /// Opens the checkpoint in the folder `path` and checks that it is whole, to the bit.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] if it is damaged or of another version; [`Kind::Io`] if it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::examine(path).map_err(Flaw::into_fault)
    }

    /// The newest whole checkpoint of `run`; `None` if it has none yet.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] if there are checkpoints, but all are damaged, or the newest is of another
    /// version; [`Kind::Io`] if they cannot be read.
    pub fn latest(run: &RunFolder) -> Result<Option<Latest>> {
        Self::latest_by(run, Self::examine)
    }

    /// The same for a list of runs: of the tensors only the lengths of their files are compared, which reads none of them.
    ///
    /// # Errors
    /// As [`Checkpoint::latest`].
    pub fn latest_at_a_glance(run: &RunFolder) -> Result<Option<Latest>> {
        Self::latest_by(run, Self::glance)
    }

    fn latest_by(
        run: &RunFolder,
        examine: fn(&Path) -> std::result::Result<Self, Flaw>,
    ) -> Result<Option<Latest>> {
        let mut skipped = Vec::new();
        let folder = run.checkpoints();
        let mut left = keep::list(&folder)?;
        if left.is_empty() {
            // A listing may miss both a checkpoint that has just appeared and one that has just been deleted.
            left = keep::list(&folder)?;
        }
        let mut again = 0;
        while let Some((_, path)) = left.pop() {
            match examine(&path) {
                Ok(checkpoint) => return Ok(Some(Latest { checkpoint, skipped })),
                // The training process has pruned it in the meantime and written a newer one.
                Err(_) if again < PRUNED && !path.exists() => {
                    again += 1;
                    skipped.clear();
                    left = keep::list(&folder)?;
                }
                Err(Flaw::Damaged(fault)) => skipped.push(fault),
                Err(Flaw::Other(fault)) => return Err(fault),
            }
        }
        if skipped.is_empty() {
            return Ok(None);
        }
        let all: Vec<String> = skipped.iter().map(Fault::to_string).collect();
        Err(Fault::new(Kind::Checkpoint, "no checkpoint of the run is intact")
            .at(folder.display())
            .found(format!("{} damaged: {}", all.len(), all.join("; "))))
    }

    /// The newest whole checkpoint of `run`, with its parameters opened: they stay readable even if a process that trains the
    /// run prunes the checkpoint in the meantime. `None` if there is none yet.
    ///
    /// # Errors
    /// Those of [`Checkpoint::latest`], and as [`import`].
    pub fn newest(run: &RunFolder, layout: &ModelTensors) -> Result<Option<(Latest, WeightFile)>> {
        let mut again = 0;
        loop {
            let Some(latest) = Self::latest(run)? else { return Ok(None) };
            match latest.checkpoint.model(layout) {
                Ok(weights) => return Ok(Some((latest, weights))),
                Err(_) if again < PRUNED && !latest.checkpoint.path.exists() => again += 1,
                Err(fault) => return Err(fault),
            }
        }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The file of the parameters.
    pub fn weights(&self) -> PathBuf {
        self.path.join(MODEL)
    }

    pub fn state(&self) -> &TrainerState {
        &self.state
    }

    /// Checks that the checkpoint was made with the run's configuration, as far as weights depend on it. A checkpoint of the
    /// second format does not record that.
    ///
    /// # Errors
    /// [`Kind::Config`], naming the keys.
    pub fn check_configuration(&self, config: &Config) -> Result<()> {
        let Some(then) = &self.state.config else { return Ok(()) };
        let departures = config.departures(then)?;
        if departures.is_empty() {
            return Ok(());
        }
        // It may be from before the run was given more steps.
        for before in config.before_extensions() {
            if before.train.steps >= self.state.step && before.departures(then)?.is_empty() {
                return Ok(());
            }
        }
        Err(Fault::new(Kind::Config, "the run's config.toml has changed since its checkpoint")
            .at(self.path.display())
            .found(departures.join(", "))
            .remedy("restore the old values, or start a new run"))
    }

    /// The model that the checkpoint in the folder `path` was made for, and the file that says so, if it says so. Whether the
    /// checkpoint is whole is not asked.
    pub(super) fn model_at(path: &Path) -> Option<(PathBuf, ModelConfig)> {
        let file = path.join(STATE);
        let state: Value = serde_json::from_slice(&fs::read(&file).ok()?).ok()?;
        Some((file, serde_json::from_value(state["config"]["model"].clone()).ok()?))
    }

    /// Opens the parameters, to be read one at a time.
    ///
    /// # Errors
    /// As [`import`].
    pub fn model(&self, layout: &ModelTensors) -> Result<WeightFile> {
        WeightFile::open(&self.weights(), layout)
    }

    /// Opens the optimizer's states, to be read one at a time: all tensors of the first state in the order of the layout's
    /// [`held`](ModelTensors::held), named `PREFIX.NAME`, then those of the next.
    ///
    /// # Errors
    /// As [`import`].
    pub fn states(&self, layout: &ModelTensors, states: &[State]) -> Result<WeightFile> {
        let prefixes: Vec<&str> = states.iter().map(|state| state.prefix).collect();
        WeightFile::open(&self.path.join(OPTIMIZER), &states_layout(&prefixes, &layout.held()))
    }

    /// Reads every byte.
    fn examine(path: &Path) -> std::result::Result<Self, Flaw> {
        let (checkpoint, seals) = Self::sized(path)?;
        for (name, seal) in seals {
            let file = path.join(name);
            let found =
                Seal::of(&file).map_err(|e| Flaw::Other(Fault::io("read the checkpoint", &file, &e)))?;
            if found != seal {
                return Err(damaged(path, format!("{name} with other bytes than were written")));
            }
        }
        Ok(checkpoint)
    }

    /// Reads the state alone.
    fn glance(path: &Path) -> std::result::Result<Self, Flaw> {
        Self::sized(path).map(|(checkpoint, _)| checkpoint)
    }

    /// A checkpoint whose state is whole and whose files have their lengths, with their seals.
    fn sized(path: &Path) -> std::result::Result<(Self, Seals), Flaw> {
        let damaged = |found: String| damaged(path, found);
        let text = match fs::read(path.join(STATE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(format!("no {STATE}"))),
            read => read.map_err(|e| Flaw::Other(Fault::io("read the checkpoint", path, &e)))?,
        };
        let StateFile { state, model, optimizer, .. } =
            StateFile::read(&text, &path.join(STATE)).map_err(|unread| match unread {
                Unread::Damaged(found) => damaged(found),
                Unread::Foreign(fault) => Flaw::Other(fault),
            })?;
        if keep::step_of(path).is_some_and(|step| step != state.step) {
            return Err(damaged(format!("the state of step {} in it", state.step)));
        }
        let seals = [(MODEL, model), (OPTIMIZER, optimizer)];
        for (name, seal) in &seals {
            let file = path.join(name);
            let is = match fs::metadata(&file) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(format!("no {name}"))),
                read => read.map_err(|e| Flaw::Other(Fault::io("read the checkpoint", &file, &e)))?.len(),
            };
            let was = seal.bytes;
            if is != was {
                return Err(damaged(format!("{name} with {is} bytes, where {was} were written")));
            }
        }
        Ok((Self { path: path.to_owned(), state }, seals))
    }
}

fn damaged(path: &Path, found: String) -> Flaw {
    let fault = Fault::new(Kind::Checkpoint, "the checkpoint is damaged");
    Flaw::Damaged(fault.at(path.display()).found(found))
}

/// The files of tensors, and what they must match.
type Seals = [(&'static str, Seal); 2];

/// Why a checkpoint cannot be used.
enum Flaw {
    /// It is damaged: an older one may be used instead.
    Damaged(Fault),
    /// It may be whole: an older one must not replace it by default.
    Other(Fault),
}

impl Flaw {
    fn into_fault(self) -> Fault {
        match self {
            Self::Damaged(fault) | Self::Other(fault) => fault,
        }
    }
}

fn write_files(folder: &Path, snapshot: Snapshot) -> Result<()> {
    let Snapshot { state, layout, described, model, states } = snapshot;
    let mut weights = Watched::new(model);
    let model = write_sealed(&folder.join(MODEL), layout, &mut weights)?;
    let parameters = layout.held();
    let prefixes: Vec<&str> = states.iter().map(|(state, _)| state.prefix).collect();
    let mut states = States(states);
    let mut states = Watched::new(&mut states);
    let optimizer =
        write_sealed(&folder.join(OPTIMIZER), &states_layout(&prefixes, &parameters), &mut states)?;

    let path = folder.join(CONFIG_FILE);
    let failed = |e: io::Error| Fault::io("write the checkpoint", &path, &e);
    files::write_new(&path, |out| writeln!(out, "{described:#}").map_err(failed))?;

    let finite = Some(weights.is_finite() && states.is_finite());
    let path = folder.join(STATE);
    let failed = |e: io::Error| Fault::io("write the checkpoint", &path, &e);
    let text = StateFile::new(state, finite, model, optimizer).to_text().map_err(failed)?;
    files::write_new(&path, |out| out.write_all(text.as_bytes()).map_err(failed))?;
    files::sync_folder(folder).map_err(|e| Fault::io("write the checkpoint", folder, &e))
}

fn write_sealed(path: &Path, layout: &ModelTensors, source: &mut dyn TensorSource) -> Result<Seal> {
    let mut seal = None;
    files::write_new(path, |out| {
        let mut out = Sealing::new(out);
        weights::write_weights(&mut out, path, layout, source)?;
        seal = Some(out.seal());
        Ok(())
    })?;
    Ok(seal.expect("a file that was written has a seal"))
}

/// The name and shape of a parameter's state.
fn prefixed(prefix: &str, spec: Spec) -> Spec {
    Spec { name: format!("{prefix}.{}", spec.name), ..spec }
}

fn states_layout(prefixes: &[&str], parameters: &[Spec]) -> ModelTensors {
    let of = |prefix| parameters.iter().cloned().map(move |spec| prefixed(prefix, spec));
    let specs = prefixes.iter().flat_map(|&prefix| of(prefix));
    ModelTensors::new(specs.map(|spec| Entry::whole(spec.name, spec.shape)).collect())
}

/// All states as one source.
struct States<'a>(Vec<(State, &'a mut dyn TensorSource)>);

impl TensorSource for States<'_> {
    fn specs(&self) -> Vec<Spec> {
        let of = |(state, source): &(State, &mut dyn TensorSource)| -> Vec<Spec> {
            source.specs().into_iter().map(|spec| prefixed(state.prefix, spec)).collect()
        };
        self.0.iter().flat_map(of).collect()
    }

    fn read(&mut self, mut index: usize) -> Result<Cow<'_, [f32]>> {
        for (_, source) in &mut self.0 {
            let count = source.specs().len();
            if index < count {
                return source.read(index);
            }
            index -= count;
        }
        unreachable!("only tensors of `specs` are read")
    }
}
