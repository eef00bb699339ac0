//! An engine whose steps are timed.

use crate::config::Config;
use crate::data::Batch;
use crate::device::Device;
use crate::fault::Result;
use crate::train::engine::Engine;
use crate::train::loader::fresh_weights;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An engine with fresh weights and random tokens.
pub(crate) struct Bench {
    pub engine: Engine,
    pub batches: Vec<Batch>,
    /// Steps done so far.
    pub done: u64,
}

impl Bench {
    /// Opens everything a configuration needs and runs one step, which triggers drivers' late compilation.
    ///
    /// # Errors
    /// Errors of [`Engine::new`] and of a step.
    pub fn new(device: impl Into<Device>, config: &Config) -> Result<Self> {
        let engine = Engine::new(device, config)?;
        fresh_weights(&engine, config)?;
        let batches = random_batches(config);
        let mut bench = Self { engine, batches, done: 0 };
        bench.run(1)?;
        Ok(bench)
    }

    /// Runs `steps` steps, with as many in flight as in training, and waits for the last.
    ///
    /// # Errors
    /// Errors of [`Engine::submit`] and [`Engine::take`].
    pub fn run(&mut self, steps: u64) -> Result<()> {
        for _ in 0..steps {
            if !self.engine.ready() {
                self.engine.take(true)?;
            }
            // Small enough that the weights hardly move, large enough to exercise every path.
            self.engine.submit(self.done, self.done, 1e-5, &self.batches)?;
            self.done += 1;
        }
        while self.engine.in_flight() > 0 {
            self.engine.take(true)?;
        }
        Ok(())
    }
}

/// The micro-batches of one step, with tokens drawn uniformly from the vocabulary.
pub(crate) fn random_batches(config: &Config) -> Vec<Batch> {
    let train = &config.train;
    let mut random = ChaCha8Rng::seed_from_u64(train.seed);
    let draw = |_| {
        let mut batch = Batch::new(train.batch_size, train.sequence_length);
        for token in &mut batch.tokens {
            *token = random.random_range(0..config.model.vocab_size as u32);
        }
        batch.derive(train.batch_size, None);
        batch
    };
    (0..train.gradient_accumulation_steps).map(draw).collect()
}
