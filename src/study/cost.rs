//! The cost of a run: operations, tokens, memory.

use crate::config::Config;
use crate::device::Device;
use crate::fault::{Fault, Result};
use crate::gpu::Description;
use crate::model::parameter_count;
use crate::ops::Traits;
use crate::train::engine::Blueprint;
use crate::train::memory::{self, Needs};

/// The cost of one configuration, which does not depend on the seed.
#[derive(Clone, Debug)]
pub struct Cost {
    /// Floating-point operations of one step, and of one evaluation.
    step: f64,
    evaluation: f64,
    steps: u64,
    eval_every: u64,
    tokens_per_step: u64,
    pub parameters: u64,
}

impl Cost {
    /// Counts a configuration's work on a device; `held_out` is the number of chunks available for evaluation.
    pub fn new(config: &Config, device: &Traits, held_out: usize) -> Self {
        Self::of(config, &Blueprint::new(config, device), held_out)
    }

    fn of(config: &Config, blueprint: &Blueprint, held_out: usize) -> Self {
        let train = &config.train;
        let chunks = if train.eval_chunks == 0 { held_out } else { train.eval_chunks.min(held_out) };
        let batches = chunks.div_ceil(train.batch_size) as f64;
        Self {
            step: blueprint.flops() as f64,
            evaluation: batches * blueprint.evaluation_flops() as f64,
            steps: train.steps,
            eval_every: train.eval_every,
            tokens_per_step: train.tokens_per_step(),
            parameters: parameter_count(&config.model) as u64,
        }
    }

    /// The same with the memory it needs and, if the device is not sufficient, the reason. `data` is the size of the
    /// token files in bytes.
    pub fn with_memory(
        config: &Config,
        device: &Device,
        held_out: usize,
        data: u64,
    ) -> (Self, Needs, Option<Fault>) {
        let (traits, description): (&Traits, &Description) = (device.traits(), device.description());
        let blueprint = Blueprint::new(config, traits);
        let needs = Needs::new(config, &blueprint, traits, data);
        let checked: Result<()> = memory::check(&blueprint, traits, description);
        (Self::of(config, &blueprint, held_out), needs, checked.err())
    }

    /// Tokens of the whole run.
    pub fn tokens(&self) -> u64 {
        self.steps * self.tokens_per_step
    }

    /// Operations of the training steps of the whole run, as `train --dry-run` counts them.
    pub fn training(&self) -> f64 {
        self.steps as f64 * self.step
    }

    /// Operations left after `done` steps, including evaluations.
    pub fn left(&self, done: u64) -> f64 {
        let evaluations = |steps: u64| steps / self.eval_every;
        let last = u64::from(!self.steps.is_multiple_of(self.eval_every) && done < self.steps);
        let evaluations = evaluations(self.steps) - evaluations(done.min(self.steps)) + last;
        (self.steps - done.min(self.steps)) as f64 * self.step + evaluations as f64 * self.evaluation
    }

    /// Operations per second at a given number of tokens per second.
    pub fn speed(&self, tokens_per_second: f64) -> f64 {
        self.step * tokens_per_second / self.tokens_per_step as f64
    }

    /// Operations per second at a given number of seconds per step.
    pub fn speed_of_step(&self, seconds: f64) -> f64 {
        self.step / seconds
    }

    /// Operations of one step: its weight among steps of other configurations.
    pub fn step(&self) -> f64 {
        self.step
    }
}
