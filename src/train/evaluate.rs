//! Reads a checkpoint back and evaluates it on held-out text.

use super::checkpoint::{Checkpoint, WeightFile};
use super::engine::{Attached, Engine};
use super::loader::load_weights;
use super::places;
use crate::config::{Config, Order};
use crate::data::{Batch, Batches, Corpus, DataSeal, byte_lengths};
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::ops::cross_entropy::IGNORED;
use std::path::{Path, PathBuf};

/// Data to evaluate on.
pub struct HeldOut {
    pub corpus: Corpus,
    /// Whether it is what the run was trained and evaluated on.
    pub same_data: bool,
}

impl HeldOut {
    /// Opens the first of `folders` (at least one) that holds the data of a checkpoint; if none does, or there is no checkpoint,
    /// the first that can be opened.
    ///
    /// # Errors
    /// Those of opening the first.
    pub fn find(folders: &[PathBuf], config: &Config, checkpoint: Option<&Checkpoint>) -> Result<Self> {
        let open = |path: &Path| {
            let corpus = Corpus::open(path, config.train.sequence_length, config.model.vocab_size)?;
            let seal = DataSeal::of(&corpus)?;
            let same = |of: &Checkpoint| of.state().differing_data(&seal, corpus.fingerprint()).is_none();
            let same_data = checkpoint.is_some_and(same);
            Ok(Self { corpus, same_data })
        };
        places::open_first(folders, open, |found: &Self| found.same_data || checkpoint.is_none())
    }
}

/// The result of an evaluation.
#[derive(Clone, Copy, Debug)]
pub struct Evaluated {
    /// Mean cross-entropy in nats per token.
    pub loss: f64,
    /// How many targets counted.
    pub targets: u64,
    /// Bytes of text that they stand for, where that is known.
    pub bytes: Option<u64>,
}

impl Evaluated {
    /// Bits for each byte of text.
    pub fn bits_per_byte(&self) -> Option<f64> {
        let bytes = self.bytes.filter(|bytes| *bytes > 0)?;
        Some(self.loss * self.targets as f64 / (std::f64::consts::LN_2 * bytes as f64))
    }
}

/// Evaluates weights on the first `chunks` held-out chunks of a corpus, in whole batches; 0 means all of them. `watch` receives
/// the number of chunks done.
///
/// # Errors
/// Those of opening the device and reading the weights.
pub fn evaluate(
    device: impl Into<Device>,
    config: &Config,
    weights: WeightFile,
    corpus: Corpus,
    chunks: usize,
    watch: &mut dyn FnMut(usize),
) -> Result<Evaluated> {
    let train = &config.train;
    let folder = corpus.folder().to_owned();
    let lengths = corpus.tokenizer()?.as_deref().and_then(byte_lengths);
    let mut held_out = held_out(config, corpus);
    let engine = Engine::new(device, config)?;
    load_weights(&engine, weights)?;
    let mut batch = Batch::new(train.batch_size, train.sequence_length);
    let (mut targets, mut bytes) = (0, 0);
    let mut to_the_end = |batch: &Batch, done: usize| {
        watch(done);
        for &target in batch.targets.iter().filter(|&&target| target != IGNORED) {
            targets += 1;
            let length = lengths.as_ref().and_then(|lengths| lengths.get(target as usize));
            bytes += u64::from(length.copied().unwrap_or(0));
        }
        true
    };
    let mean = mean_loss(&engine, None, &mut held_out, &mut batch, chunks, &mut to_the_end)?;
    let Some(loss) = mean.flatten() else {
        return Err(Fault::new(Kind::Data, "there is nothing to evaluate on")
            .at(folder.display())
            .found(NO_TARGETS)
            .remedy(
                "evaluate on more chunks (on all of them with --chunks 0), or on other data with --data",
            ));
    };
    Ok(Evaluated { loss, targets, bytes: lengths.map(|_| bytes) })
}

/// The held-out text of a corpus, in batches.
pub(super) fn held_out(config: &Config, corpus: Corpus) -> Batches {
    let end = left_out(config, &corpus);
    Batches::new(corpus.valid, Order::Sequential, 0, end)
}

/// The token that targets leave out, if a run leaves out any.
pub(super) fn left_out(config: &Config, corpus: &Corpus) -> Option<u32> {
    corpus.meta.as_ref().and_then(|meta| meta.end_of_text).filter(|_| config.train.ignore_end_of_text)
}

/// Why an evaluation has no result.
pub(super) const NO_TARGETS: &str =
    "held-out chunks in which every target is the end of text, which does not count";

/// Mean cross-entropy of an engine's weights over the first `chunks` of `batches` (in whole batches; 0 means all of them),
/// in nats per token, by the engine's own evaluation or an attached one; `Some(None)` if none of their targets counts. `None`
/// if `go_on`, which receives each batch and the number of chunks begun before it, returns false.
pub(super) fn mean_loss(
    engine: &Engine,
    attached: Option<&Attached>,
    batches: &mut Batches,
    batch: &mut Batch,
    chunks: usize,
    go_on: &mut dyn FnMut(&Batch, usize) -> bool,
) -> Result<Option<Option<f64>>> {
    batches.seek(0);
    let limit = if chunks == 0 { usize::MAX } else { chunks };
    let (mut sum, mut counted, mut done, mut stopped) = (0.0, 0.0, 0, false);
    while done < limit {
        // The device gets the next batches before the loss of the current one arrives. Losses arrive, and are added up, in
        // batch order.
        while !engine.ready_to_evaluate() {
            sum += engine.take_evaluation(true)?.unwrap_or_default();
        }
        let rows = batches.fill_to_end(batch);
        if rows == 0 {
            break;
        }
        stopped = !go_on(batch, done);
        if stopped {
            break;
        }
        match attached {
            None => engine.begin_evaluation(batch)?,
            Some(attached) => engine.begin_evaluation_by(attached, batch)?,
        }
        counted += f64::from(batch.counted);
        done += rows;
    }
    while let Some(loss) = engine.take_evaluation(true)? {
        sum += loss;
    }
    Ok((!stopped).then_some((counted > 0.0).then_some(sum / counted)))
}
