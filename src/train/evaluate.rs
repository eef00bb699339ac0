//! A checkpoint, read back and held against held-out text.

use super::checkpoint::{Checkpoint, ModelTensors};
use super::engine::Engine;
use super::loader::load_weights;
use crate::config::{Config, Order};
use crate::data::{Batch, Batches, Corpus};
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::observe::record::Eval;
use std::path::Path;

/// What an evaluation found.
#[derive(Clone, Debug, PartialEq)]
pub struct Evaluated {
    pub eval: Eval,
    /// The data is what the run was trained and evaluated on.
    pub same_data: bool,
}

/// Mean cross-entropy of a checkpoint's weights over the first `chunks` held-out chunks of `config.data.path`,
/// in whole batches; over all of them with 0. `watch` hears of the chunks done.
///
/// # Errors
/// Those of opening the data, the device and the checkpoint.
pub fn evaluate(
    gpu: Gpu,
    config: &Config,
    checkpoint: &Checkpoint,
    chunks: usize,
    watch: &mut dyn FnMut(usize),
) -> Result<Evaluated> {
    let train = &config.train;
    let corpus = Corpus::open(Path::new(&config.data.path), train.sequence_length, config.model.vocab_size)?;
    let same_data = corpus.fingerprint() == checkpoint.state().data_fingerprint;
    let end = corpus.meta.as_ref().and_then(|meta| meta.end_of_text).filter(|_| train.ignore_end_of_text);
    let mut held_out = Batches::new(corpus.valid, Order::Sequential, 0, end);
    let engine = Engine::new(gpu, config)?;
    let layout = ModelTensors::of(&config.model, &engine.blueprint.arenas.specs());
    load_weights(&engine, checkpoint.model(&layout)?)?;
    let mut batch = Batch::new(train.batch_size, train.sequence_length);
    let mut to_the_end = |done: usize| {
        watch(done);
        true
    };
    let mean = mean_loss(&engine, &mut held_out, &mut batch, chunks, &mut to_the_end)?;
    let Some(loss) = mean.flatten() else {
        return Err(Fault::new(Kind::Data, "there is nothing to evaluate on")
            .at(&config.data.path)
            .found(NO_TARGETS)
            .remedy(
                "evaluate on more chunks, with --chunks 0 on all of them, or on other data with --data",
            ));
    };
    let step = checkpoint.state().step;
    Ok(Evaluated { eval: Eval { step, loss, ppl: loss.exp() }, same_data })
}

/// What keeps an evaluation from having a result.
pub(super) const NO_TARGETS: &str =
    "held-out chunks in which every target is the end of text, which does not count";

/// Mean cross-entropy of an engine's weights over the first `chunks` of `batches` (in whole batches; all of them with
/// 0), in nats per token; `Some(None)` where no target of them counts. `None` where `go_on`, which hears of the chunks
/// done, says no.
pub(super) fn mean_loss(
    engine: &Engine,
    batches: &mut Batches,
    batch: &mut Batch,
    chunks: usize,
    go_on: &mut dyn FnMut(usize) -> bool,
) -> Result<Option<Option<f64>>> {
    batches.seek(0);
    let limit = if chunks == 0 { usize::MAX } else { chunks };
    let (mut sum, mut counted, mut done) = (0.0, 0.0, 0);
    while done < limit {
        let rows = batches.fill_to_end(batch);
        if rows == 0 {
            break;
        }
        if !go_on(done) {
            return Ok(None);
        }
        sum += engine.evaluate(batch)?;
        counted += f64::from(batch.counted);
        done += rows;
    }
    Ok(Some((counted > 0.0).then_some(sum / counted)))
}
