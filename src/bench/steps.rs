//! Whole training steps: with and without normalization, with and without entropy, and with and without the entropy
//! regularizer if the configuration has it. Variants are always timed in turns.

use super::kernels::tape_floor;
use super::{Bench, Ceilings, Spread};
use crate::config::{Config, Norm};
use crate::device::Device;
use crate::fault::Result;
use serde::Serialize;
use std::time::Instant;

/// Steps of one variant.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct StepRow {
    pub norm: Norm,
    pub activation: String,
    pub entropy: bool,
    /// Whether the loss includes the regularizer: [`crate::config::ModelConfig::entropy_regularization`].
    pub regularizer: bool,
    pub tokens_per_second: f64,
    /// Seconds of one step.
    pub seconds: Spread,
    /// The least time that the device's ceilings allow for the step's operations and bytes; absent if none were
    /// measured.
    pub floor: Option<f64>,
}

/// Two variants of a step, run in turns.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pair {
    pub what: &'static str,
    /// Seconds of the first over seconds of the second, turn by turn.
    pub ratio: Spread,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Steps {
    #[serde(rename = "steps")]
    pub rows: Vec<StepRow>,
    pub pairs: Vec<Pair>,
}

/// The features of a variant.
#[derive(Clone, Copy)]
struct Variant {
    norm: Norm,
    entropy: bool,
    regularizer: bool,
}

/// What two kinds of step differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Difference {
    /// Entropy of every head on and off, with the configuration's own normalization
    Entropy,
    /// LayerNorm and none
    Norm,
    /// The entropy regularizer on and off, if the configuration has one
    Regularizer,
}

/// The step variants to time, and the pairs of them to run in turns: those in `differences`, or, if it is empty, all of
/// them, with entropy compared under either normalization.
fn turns(config: &Config, differences: &[Difference]) -> (Vec<Variant>, Vec<(&'static str, usize, usize)>) {
    let regularizer = config.model.entropy_regularization > 0.0;
    let of = |norm, entropy| Variant { norm, entropy, regularizer };
    let (norm, bare) = (Norm::LAYER_NORM, Norm::NONE);
    let own = if config.model.norm == norm { 0 } else { 2 };
    let mut kinds = vec![of(norm, true), of(norm, false), of(bare, true), of(bare, false)];
    let wanted = |difference| differences.is_empty() || differences.contains(&difference);
    let entropy = |at: usize| wanted(Difference::Entropy) && (differences.is_empty() || at == own);
    let mut turns = Vec::new();
    if entropy(0) {
        turns.push(("entropy of every head, with LayerNorm: on against off", 0, 1));
    }
    if entropy(2) {
        turns.push(("entropy of every head, without LayerNorm: on against off", 2, 3));
    }
    if wanted(Difference::Norm) {
        turns.push(("LayerNorm against none", 0, 2));
    }
    if regularizer && wanted(Difference::Regularizer) {
        turns.push(("the entropy regularizer: on against off", own, kinds.len()));
        kinds.push(Variant { regularizer: false, ..kinds[own] });
    }
    (kinds, turns)
}

/// Times the configuration's step with and without entropy, normalization and, if configured, the regularizer, or only
/// the comparisons in `differences`, two variants at a time.
pub fn steps(
    open_device: &dyn Fn() -> Result<Device>,
    config: &Config,
    ceilings: Option<&Ceilings>,
    rounds: usize,
    differences: &[Difference],
) -> Result<Steps> {
    let (kinds, turns) = turns(config, differences);
    let mut samples = vec![Vec::new(); kinds.len()];
    let mut floors = vec![None; kinds.len()];
    let mut pairs = Vec::new();
    for (what, first, second) in turns {
        let mut open = |kind: usize| -> Result<Bench> {
            let bench = Bench::new(open_device()?, &variant(config, kinds[kind]))?;
            floors[kind] = ceilings.map(|ceilings| step_floor(&bench, ceilings));
            Ok(bench)
        };
        let mut benches = [open(first)?, open(second)?];
        let steps = steps_a_turn(&mut benches[0])?;
        let mut ratios = Vec::new();
        for round in 0..rounds {
            let mut seconds = [0.0; 2];
            // The order alternates because whatever follows a pause is slower.
            for turn in [round % 2, 1 - round % 2] {
                let start = Instant::now();
                benches[turn].run(steps)?;
                seconds[turn] = start.elapsed().as_secs_f64() / steps as f64;
            }
            samples[first].push(seconds[0]);
            samples[second].push(seconds[1]);
            ratios.push(seconds[0] / seconds[1]);
        }
        pairs.push(Pair { what, ratio: Spread::of(&ratios) });
    }
    let tokens = config.train.tokens_per_step() as f64;
    let row = |kind: usize| {
        let seconds = Spread::of(&samples[kind]);
        StepRow {
            norm: kinds[kind].norm,
            activation: config.model.activation_function.word.to_owned(),
            entropy: kinds[kind].entropy,
            regularizer: kinds[kind].regularizer,
            tokens_per_second: tokens / seconds.median,
            seconds,
            floor: floors[kind],
        }
    };
    let timed = (0..kinds.len()).filter(|&kind| !samples[kind].is_empty());
    Ok(Steps { rows: timed.map(row).collect(), pairs })
}

fn variant(config: &Config, kind: Variant) -> Config {
    let mut config = config.clone();
    config.model.norm = kind.norm;
    config.observe.entropy = kind.entropy;
    if !kind.regularizer {
        config.model.entropy_regularization = 0.0;
    }
    config
}

/// How many steps take long enough to be timed.
fn steps_a_turn(bench: &mut Bench) -> Result<u64> {
    const LONG: f64 = 0.3;
    let start = Instant::now();
    bench.run(1)?;
    Ok((LONG / start.elapsed().as_secs_f64().max(1e-6)).ceil().min(1_000.0) as u64)
}

fn step_floor(bench: &Bench, ceilings: &Ceilings) -> f64 {
    let plans = bench.engine.training_plans();
    let each = plans.map(|(tape, _, repeats)| {
        tape_floor(ceilings, tape) * if repeats { bench.batches.len() as f64 } else { 1.0 }
    });
    each.iter().sum()
}
