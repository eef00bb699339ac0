//! A checkpoint, read back and held against held-out text.

use super::checkpoint::{Checkpoint, ModelTensors};
use super::engine::Engine;
use super::trainer::{load_weights, mean_loss};
use crate::config::{Config, Order};
use crate::data::{Batch, Batches, Corpus};
use crate::fault::Result;
use crate::gpu::Gpu;
use crate::observe::record::Eval;
use std::path::Path;

/// Mean cross-entropy of a checkpoint's weights over the first `chunks` held-out chunks of `config.data.path`,
/// in whole batches; over all of them with `usize::MAX`.
///
/// # Errors
/// Those of opening the data, the device and the checkpoint.
pub fn evaluate(gpu: Gpu, config: &Config, checkpoint: &Checkpoint, chunks: usize) -> Result<Eval> {
    let train = &config.train;
    let corpus = Corpus::open(Path::new(&config.data.path), train.sequence_length, config.model.vocab_size)?;
    let end = corpus.meta.as_ref().and_then(|meta| meta.end_of_text).filter(|_| train.ignore_end_of_text);
    let mut held_out = Batches::new(corpus.valid, Order::Sequential, 0, end);
    let engine = Engine::new(gpu, config)?;
    let layout = ModelTensors::gpt2(&engine.blueprint.arenas.specs());
    load_weights(&engine, checkpoint.model(&layout)?)?;
    let mut batch = Batch::new(train.batch_size, train.sequence_length);
    let loss = mean_loss(&engine, &mut held_out, &mut batch, chunks)?;
    Ok(Eval { step: checkpoint.state().step, loss, ppl: loss.exp() })
}
