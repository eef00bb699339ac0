//! The first steps of a run on two devices, and how far their numbers agree.

use super::engine::Engine;
use super::evaluate::left_out;
use super::loader::begin;
use super::places;
use super::run_folder::RunFolder;
use crate::config::Config;
use crate::data::{Batch, Batches, Corpus};
use crate::device::Device;
use crate::fault::Result;
use crate::observe::quantities::HEAD_ENTROPY;
use serde::Serialize;
use std::path::Path;

/// What a device computed in one step.
#[derive(Clone, Debug, PartialEq)]
pub struct StepNumbers {
    /// Nats per token.
    pub loss: f32,
    /// Mean entropy of each head in nats, layer by layer; empty if the run does not measure it.
    pub entropies: Vec<f32>,
}

/// The largest relative differences between what two devices computed. Infinite where only one of two numbers is finite.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Agreement {
    /// Steps compared.
    pub steps: usize,
    /// Of losses.
    pub loss: f64,
    /// Of the entropies of all heads; `None` if they are not measured.
    pub entropy: Option<f64>,
}

/// Entropies below this, in nats, are compared as if they were this large: a collapsed head has next to none.
const SMALL: f64 = 0.01;

impl Agreement {
    /// Relative differences above this are not those of rounding. Between the CPU and Mesa's software driver, twenty steps of
    /// the demo's SM+G with two layers differ by 2.5e-7 at most, and of its SM+LN+R by 1.1e-5; what a kernel computes wrongly
    /// moves the first digits.
    pub const BOUND: f64 = 1e-2;

    /// Compares what two devices computed in the same steps.
    ///
    /// # Panics
    /// If one of them made more steps.
    pub fn of(one: &[StepNumbers], other: &[StepNumbers]) -> Self {
        assert_eq!(one.len(), other.len(), "the devices made different steps");
        let pairs = || one.iter().zip(other);
        let losses = pairs().map(|(a, b)| relative(a.loss, b.loss, 0.0));
        let entropies = pairs().flat_map(|(a, b)| a.entropies.iter().zip(&b.entropies));
        Self {
            steps: one.len(),
            loss: losses.fold(0.0, f64::max),
            entropy: entropies.map(|(&a, &b)| relative(a, b, SMALL)).reduce(f64::max),
        }
    }

    /// Whether both are within [`Agreement::BOUND`].
    pub fn holds(&self) -> bool {
        self.loss <= Self::BOUND && self.entropy.is_none_or(|entropy| entropy <= Self::BOUND)
    }
}

/// The difference of two numbers, relative to the larger one or to `least`.
fn relative(a: f32, b: f32, least: f64) -> f64 {
    if a == b || !a.is_finite() && !b.is_finite() {
        return 0.0;
    }
    let (a, b) = (f64::from(a), f64::from(b));
    let difference = (a - b).abs() / a.abs().max(b.abs()).max(least);
    if difference.is_finite() { difference } else { f64::INFINITY }
}

/// Trains the first `steps` steps of a run anew on a device, or all if it has fewer, and writes nothing. A step whose loss or
/// gradient is not finite is computed like any other.
///
/// # Errors
/// Those of opening the run's data and initial weights; those of the device.
pub fn first_steps(device: Device, run: &RunFolder, config: &Config, steps: u64) -> Result<Vec<StepNumbers>> {
    let train = &config.train;
    let open = |path: &Path| {
        Corpus::open(path, train.sequence_length, config.model.vocab_size)?
            .with_train_tokens(config.data.train_tokens)
    };
    let corpus = places::open_first(&places::data(run, config), open, |_| true)?;
    let end = left_out(config, &corpus);
    let mut batches = Batches::new(corpus.train, config.data.order, train.seed, end);
    let mut engine = Engine::new(device, config)?;
    begin(&engine, config, places::init_from(run, config).as_deref())?;
    engine.set_record(true);
    let mut scratch =
        vec![Batch::new(train.batch_size, train.sequence_length); train.gradient_accumulation_steps];
    let mut numbers = Vec::new();
    for step in 0..steps.min(train.steps) {
        scratch.iter_mut().for_each(|batch| batches.fill(batch));
        engine.submit(step, step, train.learning_rate_at(step), &scratch)?;
        while let Some(reading) = engine.take(true)? {
            let entropies = reading.values.heads(&HEAD_ENTROPY).concat();
            numbers.push(StepNumbers { loss: reading.loss, entropies });
        }
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_difference_counts() {
        let step = |loss, entropies: &[f32]| StepNumbers { loss, entropies: entropies.to_vec() };
        let of = |a: &[StepNumbers], b: &[StepNumbers]| Agreement::of(a, b);
        let found = of(&[step(4.0, &[1.0, 2.0]), step(2.0, &[])], &[step(4.0, &[1.0, 1.5]), step(1.0, &[])]);
        assert_eq!(found, Agreement { steps: 2, loss: 0.5, entropy: Some(0.25) });
        assert!(!found.holds());
        let none = of(&[step(4.0, &[])], &[step(4.0, &[])]);
        assert_eq!((none.loss, none.entropy, none.holds()), (0.0, None, true));
        // A head without entropy, and numbers that are not finite.
        let tiny = of(&[step(1.0, &[1e-6])], &[step(1.0, &[2e-6])]);
        assert!(tiny.entropy.unwrap() < 2e-4, "{tiny:?}");
        assert_eq!(of(&[step(f32::NAN, &[])], &[step(f32::NAN, &[])]).loss, 0.0);
        assert_eq!(of(&[step(f32::NAN, &[])], &[step(1.0, &[])]).loss, f64::INFINITY);
        assert_eq!(of(&[step(f32::INFINITY, &[])], &[step(1.0, &[])]).loss, f64::INFINITY);
    }
}
