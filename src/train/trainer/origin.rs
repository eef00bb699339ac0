//! Checks that a run resumes with what it had before: configuration, data, log, and consistent numbers in its checkpoint.

use super::voice::Voice;
use crate::config::Config;
use crate::data::{Corpus, DataSeal};
use crate::fault::{Fault, Kind, Result};
use crate::numbers::counted;
use crate::observe::log::{FoundLog, Tally};
use crate::train::checkpoint::{Checkpoint, TrainerState};
use crate::train::places;
use crate::train::run_folder::RunFolder;
use std::path::Path;

/// The data of a run, and how it is identified.
pub(super) struct Data {
    pub corpus: Corpus,
    pub seal: DataSeal,
    pub fingerprint: u64,
    pub voice: Option<Voice>,
}

impl Data {
    /// Opens the data at `path` and reads all of it, and the tokenizer of a run that continues a text.
    pub fn open(path: &Path, config: &Config, run: &RunFolder) -> Result<Self> {
        let corpus = Corpus::open(path, config.train.sequence_length, config.model.vocab_size)?
            .with_train_tokens(config.data.train_tokens)?;
        let voice = Voice::of(config, &corpus, run)?;
        Ok(Self { seal: DataSeal::of(&corpus)?, fingerprint: corpus.fingerprint(), corpus, voice })
    }

    /// Opens the data of a resumed run at its present place: in the first folder whose data is that of `checkpoint`, if
    /// there is a checkpoint yet.
    ///
    /// # Errors
    /// What is wrong with the likeliest folder.
    pub fn find(run: &RunFolder, config: &Config, checkpoint: Option<&Checkpoint>) -> Result<Self> {
        let open = |path: &Path| {
            let mut data = Self::open(path, config, run)?;
            if let Some(checkpoint) = checkpoint {
                data.check(checkpoint)?;
                // If the folder has lost its tokenizer, the run keeps the one it knows.
                let known = checkpoint.state().data.as_ref().and_then(|seal| seal.tokenizer.clone());
                data.seal.tokenizer = data.seal.tokenizer.or(known);
            }
            Ok(data)
        };
        places::open_first(&places::data(run, config), open, |_| true).map_err(|fault| match fault.what() {
            Corpus::MISSING => fault.remedy("give its location: --resume --set data.path=DIR"),
            _ => fault,
        })
    }

    fn check(&self, checkpoint: &Checkpoint) -> Result<()> {
        let found = checkpoint.state().differing_data(&self.seal, self.fingerprint);
        let Some(found) = found else { return Ok(()) };
        Err(Fault::new(Kind::Data, "the data is not what the run was started with")
            .at(self.corpus.folder().display())
            .found(found)
            .remedy(format!(
                "restore the old data, give its location with --resume --set data.path=DIR, or start a new run with \
                 train.init_from = \"{}\"",
                checkpoint.weights().display()
            )))
    }
}

/// Checks that a checkpoint was made with this seed and this configuration, and that its numbers agree with each other.
pub(super) fn check_state(config: &Config, checkpoint: &Checkpoint) -> Result<()> {
    let state = checkpoint.state();
    if state.seed != config.train.seed {
        return Err(Fault::new(Kind::Checkpoint, "the checkpoint belongs to a run with another seed")
            .at(checkpoint.path().display())
            .found(format!("seed {} there, {} in the configuration", state.seed, config.train.seed)));
    }
    checkpoint.check_configuration(config)?;
    let TrainerState { step, data_cursor, optimizer_steps, loss_scale, .. } = state;
    let train = &config.train;
    let used = step.saturating_mul((train.batch_size * train.gradient_accumulation_steps) as u64);
    let mixed = train.precision == crate::config::Precision::Mixed;
    let wrong = if *data_cursor != used {
        format!(
            "data_cursor {data_cursor}, where {} use {}",
            counted(*step, "step"),
            counted(used, "sequence")
        )
    } else if optimizer_steps > step {
        format!("optimizer_steps {optimizer_steps} after {}", counted(*step, "step"))
    } else if loss_scale.is_some() != mixed {
        format!("{} loss_scale with precision {}", if mixed { "no" } else { "a" }, train.precision)
    } else {
        return Ok(());
    };
    Err(contradiction(checkpoint, wrong))
}

/// Checks that the log up to the checkpoint is the one that was written, with the same number of steps.
pub(super) fn check_log(log: &FoundLog, checkpoint: &Checkpoint) -> Result<()> {
    let state = checkpoint.state();
    if state.metrics_sha256.as_ref().is_some_and(|then| *then != log.sha256()) {
        return Err(log.changed(format!(
            "other bytes among the first {} than the checkpoint expects",
            state.metrics_bytes
        )));
    }
    let Tally { steps, last_step, nonfinite } = log.tally;
    let left_out = state.step - state.optimizer_steps;
    if steps != state.step || last_step.is_some_and(|last| last + 1 != state.step) {
        let last = last_step.map_or_else(String::new, |last| format!(", the last of them step {last}"));
        let found = format!(
            "metrics_bytes at {} of steps{last}, where {} are done",
            counted(steps, "record"),
            state.step
        );
        return Err(contradiction(checkpoint, found));
    }
    if left_out > nonfinite || (state.recording && nonfinite == 0) {
        let recording = if state.recording { " and recording" } else { "" };
        let found = format!(
            "{}{recording}, where the log has {} of numbers that are not finite",
            counted(left_out, "skipped update"),
            counted(nonfinite, "record")
        );
        return Err(contradiction(checkpoint, found));
    }
    Ok(())
}

fn contradiction(checkpoint: &Checkpoint, found: String) -> Fault {
    Fault::new(Kind::Checkpoint, "the checkpoint contradicts itself")
        .at(checkpoint.path().display())
        .found(found)
        .remedy("its files have changed: restore them, or delete this folder to resume from an older one")
}
