//! `trainer_state.json`: the state of a trainer, and the seals that tell whether the files of a checkpoint are whole.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::super::engine::LossScale;
use crate::data::DataSeal;
use crate::fault::{Fault, Kind, of_json};
use crate::files::{hex, sha256};
use crate::ops::Choices;

/// The file in a checkpoint's folder.
pub(super) const STATE: &str = "trainer_state.json";

/// The version of a checkpoint's layout, in its `trainer_state.json`.
pub const FORMAT_VERSION: u32 = 3;

/// The version before the state had its own seal: its numbers can only be checked against each other.
const UNSEALED: u32 = 2;

/// The state of a trainer. Random numbers are counted, not drawn from a generator's state: `seed` and the counts here
/// determine them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrainerState {
    /// Steps done, which is also the number of the next step.
    pub step: u64,
    /// Chunks of training text used up, over all epochs.
    pub data_cursor: u64,
    /// The run's seed.
    pub seed: u64,
    /// Updates the optimizer has made: fewer than `step` if broken steps were skipped. Steps that overflowed in mixed
    /// precision count, although their update was left out.
    pub optimizer_steps: u64,
    /// Length of the run's log, in bytes.
    pub metrics_bytes: u64,
    /// SHA-256 of that part of the log.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metrics_sha256: Option<String>,
    /// Whether the run has gone on with numbers that are not finite (`train.on_nonfinite = "record"`).
    pub recording: bool,
    /// Whether the evaluation that was due at `step` was broken off.
    pub owes_evaluation: bool,
    /// How the second format identified the data: samples of its bytes.
    pub data_fingerprint: u64,
    /// How the data is identified.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataSeal>,
    /// The part of the configuration that the weights depend on; see [`Config::lasting`](crate::config::Config::lasting).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
    /// The kernels that the run computes with, if measurements chose them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Choices>,
    /// The loss scale, if the precision is mixed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loss_scale: Option<LossScale>,
    /// Which units were active since the last `layers` record; see [`ActiveUnits::to_hex`].
    ///
    /// [`ActiveUnits::to_hex`]: crate::observe::units::ActiveUnits::to_hex
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub active_units: Vec<String>,
}

impl TrainerState {
    /// How data differs from the run's; `None` if it is the same. A state of the second format compares only samples.
    pub fn differing_data(&self, seal: &DataSeal, fingerprint: u64) -> Option<String> {
        match &self.data {
            Some(then) => then.difference(seal),
            None => (self.data_fingerprint != fingerprint)
                .then(|| "token files of another length or content".to_owned()),
        }
    }
}

/// The contents of the file.
#[derive(Serialize, Deserialize)]
pub(super) struct StateFile {
    format_version: u32,
    #[serde(flatten)]
    pub state: TrainerState,
    /// Whether every weight and moment is finite. Earlier versions did not say.
    #[serde(default)]
    pub finite: Option<bool>,
    pub model: Seal,
    pub optimizer: Seal,
}

/// The one field that every version of the file has.
#[derive(Deserialize)]
struct Version {
    format_version: u32,
}

/// Why a state cannot be used.
pub(super) enum Unread {
    /// It is damaged, with what was found.
    Damaged(String),
    /// It is of another version.
    Foreign(Fault),
}

impl StateFile {
    pub fn new(state: TrainerState, finite: Option<bool>, model: Seal, optimizer: Seal) -> Self {
        Self { format_version: FORMAT_VERSION, state, finite, model, optimizer }
    }

    /// The file's text. Its last field is the digest of everything before it.
    pub fn to_text(&self) -> io::Result<String> {
        let text = serde_json::to_string_pretty(self)?;
        let before = text.strip_suffix("\n}").unwrap_or(&text).to_owned() + ",\n";
        let end = end_of(before.as_bytes());
        Ok(before + &end)
    }

    /// Reads the file's text back; `path` is for messages.
    pub fn read(text: &[u8], path: &Path) -> std::result::Result<Self, Unread> {
        let unreadable = |e: serde_json::Error| {
            Unread::Damaged(format!("{STATE} that cannot be understood: {}", of_json(&e)))
        };
        let Version { format_version } = serde_json::from_slice(text).map_err(unreadable)?;
        if !(UNSEALED..=FORMAT_VERSION).contains(&format_version) {
            return Err(Unread::Foreign(
                Fault::new(Kind::Checkpoint, "the checkpoint is of another version of normfree")
                    .at(path.display())
                    .found(format!("format_version {format_version}, this program reads {FORMAT_VERSION}"))
                    .remedy("continue with the program that wrote it"),
            ));
        }
        if format_version != UNSEALED && !is_sealed(text) {
            return Err(Unread::Damaged(format!("{STATE} with other bytes than were written")));
        }
        let file: Self = serde_json::from_slice(text).map_err(unreadable)?;
        if format_version == UNSEALED && file.has_later_fields() {
            return Err(Unread::Damaged(format!(
                "{STATE} of format_version {UNSEALED} with fields of a later one, whose seal would tell of changes"
            )));
        }
        Ok(file)
    }

    /// Whether it has a field that no unsealed file has. If so, someone changed the version, which also turns off the seal.
    fn has_later_fields(&self) -> bool {
        let TrainerState { metrics_sha256, data, config, kernels, .. } = &self.state;
        let state = metrics_sha256.is_some() || data.is_some() || config.is_some() || kernels.is_some();
        state || self.finite.is_some()
    }
}

/// The last lines of a file whose other text is `before`.
fn end_of(before: &[u8]) -> String {
    format!("  \"sha256\": \"{}\"\n}}\n", sha256(before))
}

fn is_sealed(text: &[u8]) -> bool {
    let before = text.len().saturating_sub(end_of(&[]).len());
    text[before..] == *end_of(&text[..before]).as_bytes()
}

/// What a file must match for the checkpoint to be whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seal {
    pub bytes: u64,
    sha256: String,
}

impl Seal {
    fn new(bytes: u64, digest: Sha256) -> Self {
        Self { bytes, sha256: hex(&digest.finalize()) }
    }

    /// The seal of the file at `path` as it is now.
    pub fn of(path: &Path) -> io::Result<Self> {
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

/// Counts and digests everything that is written through it to `out`.
pub(super) struct Sealing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    bytes: u64,
}

impl<'a> Sealing<'a> {
    pub fn new(out: &'a mut dyn Write) -> Self {
        Self { out, digest: Sha256::new(), bytes: 0 }
    }

    /// The seal of what was written.
    pub fn seal(self) -> Seal {
        Seal::new(self.bytes, self.digest)
    }
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

/// Whether the checkpoint in the folder `path` says that its numbers are all finite. Does not read its other files.
pub(super) fn is_finite(path: &Path) -> bool {
    let read = || -> Option<StateFile> { serde_json::from_slice(&fs::read(path.join(STATE)).ok()?).ok() };
    read().is_some_and(|file| file.finite.unwrap_or(!file.state.recording))
}
