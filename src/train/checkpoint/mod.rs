//! Checkpoints: everything a run needs to go on bit for bit.
//!
//! ```text
//! RUN/checkpoints/step-00000500/
//!     model.safetensors        the parameters, under Hugging Face's names of the family
//!     optimizer.safetensors    first and second moments, m.NAME and v.NAME, in the shapes of the model
//!     trainer_state.json       step, data cursor, seed …; length and SHA-256 of the two files above
//! ```
//! The folder is written under another name, brought to the disk and renamed, so that one with its right name
//! is whole. The lengths and digests find what happens to it later.

mod fit;
mod keep;
mod layout;
mod tensor_file;
mod tensors;
mod weights;

use std::borrow::Cow;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::engine::LossScale;
use super::run_folder::RunFolder;
use crate::fault::{Fault, Kind, Result};
use crate::files;
use tensors::Watched;

pub(super) use keep::{is_settled, newest_finite, prune, tidy};
pub use layout::{Entry, Form, ModelTensors};
pub use tensors::{NamedTensor, Spec, TensorSource};
pub use weights::{WeightFile, export, import};

/// The version of the layout above, in `trainer_state.json`.
pub const FORMAT_VERSION: u32 = 2;

const MODEL: &str = "model.safetensors";
const OPTIMIZER: &str = "optimizer.safetensors";
const STATE: &str = "trainer_state.json";

/// Where a trainer stands. Random numbers are counted, not drawn from a state: `seed` and the counts here are
/// all there is to them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Steps done; the next one has this number.
    pub step: u64,
    /// Chunks of training text used up, over all epochs.
    pub data_cursor: u64,
    /// The run's seed.
    pub seed: u64,
    /// Updates the optimizer has made: fewer than `step` where broken steps were skipped. Steps that overflowed in
    /// mixed precision count, though their update was left out.
    pub optimizer_steps: u64,
    /// Length of the run's log, in bytes.
    pub metrics_bytes: u64,
    /// Whether the run goes on with numbers that are not finite (`train.on_nonfinite = "record"`).
    pub recording: bool,
    /// Whether the evaluation that was due at `step` was broken off.
    pub owes_evaluation: bool,
    /// What the data is known by.
    pub data_fingerprint: u64,
    /// The loss scale, where the precision is mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Which units did something since the last `layers` record; see [`ActiveUnits::to_hex`].
    ///
    /// [`ActiveUnits::to_hex`]: crate::observe::units::ActiveUnits::to_hex
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active_units: Vec<String>,
}

/// What a checkpoint is written from.
pub struct Snapshot<'a> {
    pub state: TrainerState,
    /// How the parameters lie in the file.
    pub layout: &'a ModelTensors,
    /// The parameters: those the layout [holds](ModelTensors::held), in any order.
    pub model: &'a mut dyn TensorSource,
    /// The first moments, under the names of the parameters and in their shapes.
    pub first_moments: &'a mut dyn TensorSource,
    /// The second moments, likewise.
    pub second_moments: &'a mut dyn TensorSource,
}

/// The optimizer's moments, each in the order of the layout's [`held`](ModelTensors::held) and under the names
/// of the parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    pub first: Vec<NamedTensor>,
    pub second: Vec<NamedTensor>,
}

/// A checkpoint on the disk that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    path: PathBuf,
    state: TrainerState,
}

/// The newest whole checkpoint of a run, and what was wrong with newer ones.
#[derive(Clone, Debug)]
pub struct Latest {
    pub checkpoint: Checkpoint,
    /// One fault for each newer checkpoint that is damaged: to be shown, not hidden.
    pub passed_over: Vec<Fault>,
}

/// `trainer_state.json`.
#[derive(Serialize, Deserialize)]
struct StateFile {
    format_version: u32,
    #[serde(flatten)]
    state: TrainerState,
    /// Whether every weight and moment is finite. Earlier versions did not say.
    #[serde(default)]
    finite: Option<bool>,
    model: Seal,
    optimizer: Seal,
}

/// The one field of `trainer_state.json` that every version of it has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// What a file must be for the checkpoint to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Seal {
    bytes: u64,
    sha256: String,
}

impl Checkpoint {
    /// Writes a checkpoint into `run`, which must be locked, and deletes the oldest so that `keep` are left,
    /// the new one always among them. Returns its folder.
    ///
    /// # Errors
    /// [`Kind::Io`] where it cannot be written, [`Kind::Checkpoint`] where the tensors are not the layout's,
    /// and the errors of the sources. The older checkpoints then are as they were.
    pub fn write(run: &RunFolder, snapshot: Snapshot, keep: usize) -> Result<PathBuf> {
        assert!(run.is_locked(), "checkpoints are written into locked run folders alone");
        let step = snapshot.state.step;
        let unfinished = keep::begin(run, step)?;
        if let Err(fault) = write_files(&unfinished, snapshot) {
            // The first fault is the one to tell of; what is left behind the next open clears away.
            let _ = fs::remove_dir_all(&unfinished);
            return Err(fault);
        }
        let path = keep::commit(run, step, &unfinished)?;
        keep::prune(run, step, keep)?;
        Ok(path)
    }

    /// Opens the checkpoint in the folder `path` and checks that it is whole, to the bit.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] where it is damaged or of another version; [`Kind::Io`] where it cannot be read.
    pub fn open(path: &Path) -> Result<Self> {
        Self::examine(path).map_err(Flaw::into_fault)
    }

    /// The newest whole checkpoint of `run`; `None` where it has none yet.
    ///
    /// # Errors
    /// [`Kind::Checkpoint`] where there are checkpoints, but all are damaged, or the newest is of another
    /// version; [`Kind::Io`] where they cannot be read.
    pub fn latest(run: &RunFolder) -> Result<Option<Latest>> {
        let mut passed_over = Vec::new();
        for (_, path) in keep::list(run)?.into_iter().rev() {
            match Self::examine(&path) {
                Ok(checkpoint) => return Ok(Some(Latest { checkpoint, passed_over })),
                Err(Flaw::Damaged(fault)) => passed_over.push(fault),
                Err(Flaw::Other(fault)) => return Err(fault),
            }
        }
        if passed_over.is_empty() {
            return Ok(None);
        }
        let all: Vec<String> = passed_over.iter().map(|fault| format!("\n  {fault}")).collect();
        Err(Fault::new(Kind::Checkpoint, "no checkpoint of the run is whole")
            .at(run.checkpoints().display())
            .found(format!("{} damaged:{}", all.len(), all.concat())))
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

    /// Opens the parameters, to be read one at a time.
    ///
    /// # Errors
    /// As [`import`].
    pub fn model(&self, layout: &ModelTensors) -> Result<WeightFile> {
        WeightFile::open(&self.weights(), layout)
    }

    /// Opens the moments, to be read one at a time: all first moments in the order of the layout's
    /// [`held`](ModelTensors::held), named `m.NAME`, then all second ones, `v.NAME`.
    ///
    /// # Errors
    /// As [`import`].
    pub fn moments(&self, layout: &ModelTensors) -> Result<WeightFile> {
        WeightFile::open(&self.path.join(OPTIMIZER), &moments_layout(&layout.held()))
    }

    /// Reads all of it into memory.
    ///
    /// # Errors
    /// As [`import`].
    pub fn load(&self, layout: &ModelTensors) -> Result<(TrainerState, Vec<NamedTensor>, Moments)> {
        let read_all = |mut file: WeightFile| -> Result<Vec<NamedTensor>> {
            (0..file.len()).map(|index| file.read(index)).collect()
        };
        let model = read_all(self.model(layout)?)?;
        let mut first = read_all(self.moments(layout)?)?;
        let mut second = first.split_off(model.len());
        for tensor in first.iter_mut().chain(&mut second) {
            tensor.name.drain(..FIRST.len());
        }
        Ok((self.state.clone(), model, Moments { first, second }))
    }

    fn examine(path: &Path) -> std::result::Result<Self, Flaw> {
        let damaged = |found: String| {
            let fault = Fault::new(Kind::Checkpoint, "the checkpoint is damaged");
            Flaw::Damaged(fault.at(path.display()).found(found))
        };
        let text = match fs::read(path.join(STATE)) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(format!("no {STATE}"))),
            read => read.map_err(|e| Flaw::Other(Fault::io("read the checkpoint", path, &e)))?,
        };
        let unreadable = |e: serde_json::Error| damaged(format!("{STATE} that cannot be understood ({e})"));
        let Version { format_version } = serde_json::from_slice(&text).map_err(unreadable)?;
        if format_version != FORMAT_VERSION {
            return Err(Flaw::Other(
                Fault::new(Kind::Checkpoint, "the checkpoint is of another version of normfree")
                    .at(path.join(STATE).display())
                    .found(format!("format_version {format_version}, this program reads {FORMAT_VERSION}"))
                    .remedy("go on with the program that wrote it"),
            ));
        }
        let StateFile { state, model, optimizer, .. } = serde_json::from_slice(&text).map_err(unreadable)?;
        if keep::step_of(path).is_some_and(|step| step != state.step) {
            return Err(damaged(format!("the state of step {} in it", state.step)));
        }
        for (name, seal) in [(MODEL, model), (OPTIMIZER, optimizer)] {
            let file = path.join(name);
            let found = match Seal::of(&file) {
                Err(e) if e.kind() == io::ErrorKind::NotFound => return Err(damaged(format!("no {name}"))),
                read => read.map_err(|e| Flaw::Other(Fault::io("read the checkpoint", &file, &e)))?,
            };
            if found.bytes != seal.bytes {
                let (is, was) = (found.bytes, seal.bytes);
                return Err(damaged(format!("{name} of {is} bytes, it was written with {was}")));
            }
            if found != seal {
                return Err(damaged(format!("{name} with other bytes than it was written with")));
            }
        }
        Ok(Self { path: path.to_owned(), state })
    }
}

/// Whether the checkpoint in the folder `path` says that its numbers are all finite. Its files are not looked at.
fn is_finite(path: &Path) -> bool {
    let read = || -> Option<StateFile> { serde_json::from_slice(&fs::read(path.join(STATE)).ok()?).ok() };
    read().is_some_and(|file| file.finite.unwrap_or(!file.state.recording))
}

/// Why a checkpoint will not do.
enum Flaw {
    /// It is not what was written: an older one may do.
    Damaged(Fault),
    /// It may well be whole: an older one must not take its place unasked.
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
    let Snapshot { state, layout, model, first_moments, second_moments } = snapshot;
    let mut weights = Watched::new(model);
    let model = write_sealed(&folder.join(MODEL), layout, &mut weights)?;
    let parameters = layout.held();
    let mut moments = BothMoments { first: first_moments, second: second_moments };
    let mut moments = Watched::new(&mut moments);
    let optimizer = write_sealed(&folder.join(OPTIMIZER), &moments_layout(&parameters), &mut moments)?;

    let finite = Some(weights.is_finite() && moments.is_finite());
    let state = StateFile { format_version: FORMAT_VERSION, state, finite, model, optimizer };
    let path = folder.join(STATE);
    files::write_new(&path, |out| {
        serde_json::to_writer_pretty(&mut *out, &state)
            .map_err(io::Error::from)
            .and_then(|()| out.write_all(b"\n"))
            .map_err(|e| Fault::io("write the checkpoint", &path, &e))
    })?;
    files::sync_folder(folder).map_err(|e| Fault::io("write the checkpoint", folder, &e))
}

fn write_sealed(path: &Path, layout: &ModelTensors, source: &mut dyn TensorSource) -> Result<Seal> {
    let mut seal = None;
    files::write_new(path, |out| {
        let mut out = Sealing { out, digest: Sha256::new(), bytes: 0 };
        weights::write_weights(&mut out, path, layout, source)?;
        seal = Some(Seal::new(out.bytes, out.digest));
        Ok(())
    })?;
    Ok(seal.unwrap_or_else(|| Seal::new(0, Sha256::new())))
}

impl Seal {
    fn new(bytes: u64, digest: Sha256) -> Self {
        Self { bytes, sha256: digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect() }
    }

    /// The seal of the file at `path` as it is.
    fn of(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let (mut digest, mut bytes) = (Sha256::new(), 0);
        let mut piece = vec![0; 1 << 18];
        loop {
            let read = file.read(&mut piece)?;
            if read == 0 {
                return Ok(Self::new(bytes, digest));
            }
            digest.update(&piece[..read]);
            bytes += read as u64;
        }
    }
}

/// Counts and digests what goes through to `out`.
struct Sealing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    bytes: u64,
}

impl Write for Sealing<'_> {
    fn write(&mut self, piece: &[u8]) -> io::Result<usize> {
        let written = self.out.write(piece)?;
        self.digest.update(&piece[..written]);
        self.bytes += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

const FIRST: &str = "m.";
const SECOND: &str = "v.";

fn prefixed(prefix: &str, parameters: Vec<Spec>) -> impl Iterator<Item = Spec> {
    parameters.into_iter().map(move |spec| Spec { name: format!("{prefix}{}", spec.name), ..spec })
}

fn moments_layout(parameters: &[Spec]) -> ModelTensors {
    let both = prefixed(FIRST, parameters.to_vec()).chain(prefixed(SECOND, parameters.to_vec()));
    ModelTensors::new(both.map(|spec| Entry::whole(spec.name, spec.shape)).collect())
}

/// Both moments as one source.
struct BothMoments<'a> {
    first: &'a mut dyn TensorSource,
    second: &'a mut dyn TensorSource,
}

impl TensorSource for BothMoments<'_> {
    fn specs(&self) -> Vec<Spec> {
        prefixed(FIRST, self.first.specs()).chain(prefixed(SECOND, self.second.specs())).collect()
    }

    fn read(&mut self, index: usize) -> Result<Cow<'_, [f32]>> {
        match index.checked_sub(self.first.specs().len()) {
            None => self.first.read(index),
            Some(index) => self.second.read(index),
        }
    }
}
