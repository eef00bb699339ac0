//! A study made up for the tests: run folders as `normfree train` leaves them.

use normfree::observe::quantities::*;
use std::fs;
use std::path::Path;

use normfree::observe::record::{Eval, Measured, Nonfinite, Record, Values};
use normfree::report::study::{FILE, Study, StudyRun};

/// One configuration: key, label, norm, activation, slope, and the loss at the end.
pub type Made = (&'static str, &'static str, &'static str, &'static str, f64, f64);

/// The configurations of a study like the paper's.
pub const CONFIGURATIONS: [Made; 6] = [
    ("sm_ln_g", "SM+LN+G", "layer_norm", "gelu", 0.01, 3.27),
    ("sm_g", "SM+G", "none", "gelu", 0.01, 3.53),
    ("sm_r", "SM+R", "none", "relu", 0.01, 3.32),
    ("sm_leaky", "SM+LeakyR(0.1)", "none", "leaky_relu", 0.1, 3.4),
    ("sm_learnable", "SM+LearnableR(per layer)", "none", "learnable_lrelu", 0.01, 3.35),
    ("sm", "SM", "none", "none", 0.01, 4.2),
];

/// Sizes of the models and of their training.
#[derive(Clone, Copy)]
pub struct Size {
    pub layers: usize,
    pub heads: usize,
    pub steps: u64,
    /// Steps between records of attention and layers.
    pub every: u64,
}

/// Writes the study into `folder`: `seeds` of each configuration. Runs without activation break at a fifth of their
/// steps.
pub fn write(folder: &Path, name: &str, configurations: &[Made], seeds: &[u64], size: Size) -> Study {
    let mut runs = Vec::new();
    for made in configurations {
        for &seed in seeds {
            let run = format!("{}-seed{seed}", made.0);
            write_run(&folder.join(&run), made, seed, size);
            let (configuration, label) = (made.0.to_owned(), made.1.to_owned());
            runs.push(StudyRun { configuration, label, seed, folder: run.into(), baseline: None });
        }
    }
    let study = Study { name: name.to_owned(), baseline: configurations[0].0.to_owned(), runs };
    fs::write(folder.join(FILE), serde_json::to_string(&study).unwrap()).unwrap();
    study
}

/// A number that looks random, −1 to 1, and is always the same.
fn noise(seed: u64, of: u64) -> f64 {
    ((seed as f64 * 78.233 + of as f64 * 12.9898).sin() * 43758.5453).fract()
}

pub fn write_run(folder: &Path, made: &Made, seed: u64, size: Size) {
    let &(key, _, norm, activation, slope, end) = made;
    let Size { layers, heads, steps, every } = size;
    fs::create_dir_all(folder).unwrap();
    let config = format!(
        "[model]\nn_layer = {layers}\nn_head = {heads}\nn_positions = 128\nnorm = \"{norm}\"\n\
         activation_function = \"{activation}\"\nleaky_slope = {slope}\nslope_scope = \"per_layer\"\n\n[data]\n\
         path = \"/home/ada/secret/code\"\n\n[train]\nsteps = {steps}\nsequence_length = 128\nseed = {seed}\n"
    );
    fs::write(folder.join("config.toml"), config).unwrap();
    let environment = serde_json::json!({
        "version": "0.1.0", "system": "linux x86_64", "parameters": 1_459_968,
        "command": ["/home/ada/bin/normfree", "train", "/home/ada/sm.toml", "--set", "data.path=/home/ada/secret/code"],
        "adapter": { "name": "a card", "driver": "its driver" },
    });
    fs::write(folder.join("env.json"), environment.to_string()).unwrap();
    let breaks = if key == "sm" { steps / 5 } else { u64::MAX };
    let of_layers = |lost: bool, value: &dyn Fn(usize) -> f64| -> Vec<f32> {
        (0..layers).map(|layer| if lost { f32::NAN } else { value(layer) as f32 }).collect()
    };
    // Each configuration and seed has its own noise.
    let draw = seed * 1000 + (end * 100.0) as u64;
    let mut log = String::new();
    let mut write = |record: Record| {
        log.push_str(&serde_json::to_string(&record).unwrap());
        log.push('\n');
    };
    for step in 0..steps {
        let t = step as f64 / steps as f64;
        let lost = step >= breaks;
        let number = |value: f64| if lost { f64::NAN } else { value };
        let loss = end + 0.01 * seed as f64 + (7.6 - end) * (-9.0 * t).exp() + 0.06 * noise(draw, step);
        // One spike, which thinning must not lose.
        let loss = if key == "sm_g" && step == steps / 3 { loss + 1.5 } else { loss };
        let measured = |kind, values| Record::Measured { kind, step, values };
        let values = Measured::from([
            (&LOSS, Values::Step(number(loss))),
            (&LEARNING_RATE, Values::Step(1e-3 * (1.0 - t))),
            (&GRAD_NORM, Values::Step(number(1.0 + 0.3 * noise(draw, step + 7)))),
            (&TOKENS, Values::Step(((step + 1) * 2048) as f64)),
            (&TOKENS_PER_S, Values::Step(3000.0)),
        ]);
        write(measured(&STEP, values));
        if step == breaks {
            let (scope, op, tensor) = ("h.3.attn".into(), "attention".into(), "h.3.attn.out".into());
            let (phase, value) = ("forward".into(), f64::NAN);
            write(Record::Nonfinite(Nonfinite {
                step,
                micro_batch: 0,
                phase,
                scope,
                op,
                tensor,
                index: 5,
                value,
            }));
        }
        if step % every == 0 || step + 1 == steps {
            let level = |layer: usize| if norm == "none" && layer * 2 < layers { 3.3 } else { 2.2 };
            let head = |layer: usize, head: usize| {
                let target = level(layer) + 0.5 * noise(draw, (layer * heads + head) as u64);
                if lost { f32::NAN } else { (3.87 + (target - 3.87) * (t * 3.0).min(1.0)) as f32 }
            };
            let grid: Vec<Vec<f32>> =
                (0..layers).map(|layer| (0..heads).map(|h| head(layer, h)).collect()).collect();
            let layer_entropy = grid.iter().map(|row| row.iter().sum::<f32>() / heads as f32).collect();
            let nonfinite = vec![u64::from(lost) * 128; layers];
            let values = Measured::from([
                (&HEAD_ENTROPY, Values::Heads(grid)),
                (&LAYER_ENTROPY, Values::Layers(layer_entropy)),
                (&NONFINITE_ATTENTION, Values::Counts(nonfinite)),
            ]);
            write(measured(&ATTENTION, values));
            let relu = if activation == "relu" { 1.0 } else { 0.0 };
            let of = |value: &dyn Fn(usize) -> f64| Values::Layers(of_layers(lost, value));
            let values = Measured::from([
                (&LAYER_GRAD_NORM, of(&|layer| (-2.0 - 0.3 * layer as f64).exp())),
                (&ZEROS, of(&|layer| relu * (0.5 + 0.4 * t - 0.02 * layer as f64))),
                (&DEAD, of(&|layer| relu * 0.02 * t * layer as f64)),
                (&RESIDUAL_MAX, of(&|layer| 3.0 * (t * 3.0 + 0.2 * layer as f64).exp())),
                (&RESIDUAL_MEDIAN, of(&|layer| 0.5 * (t * 0.5 + 0.1 * layer as f64).exp())),
            ]);
            write(measured(&LAYERS, values));
            if activation == "learnable_lrelu" {
                let slopes = of_layers(lost, &|layer| 0.01 - 0.008 * t * layer as f64);
                write(measured(&ACTIVATION_SLOPES, Measured::from([(&SLOPES, Values::Layers(slopes))])));
            }
            // As if it were guided, with scaled feed-forward networks; some thresholds are below zero.
            if key == "sm_r" {
                let of = |layer: usize, head: usize| 0.5 - t * (0.1 * layer as f64 + 0.05 * head as f64);
                let row = |layer| (0..heads).map(|head| of(layer, head) as f32).collect();
                let thresholds = (0..layers).map(row).collect();
                let values = Measured::from([(&THRESHOLDS, Values::Heads(thresholds))]);
                write(measured(&ENTROPY_THRESHOLDS, values));
                let [alpha, beta] =
                    [0.3, -0.4].map(|slope| of_layers(lost, &|layer| 1.0 + slope * t * layer as f64));
                let values =
                    Measured::from([(&FFN_ALPHA, Values::Layers(alpha)), (&FFN_BETA, Values::Layers(beta))]);
                write(measured(&FFN_SCALES, values));
            }
        }
        if (step + 1) % (steps / 6).max(1) == 0 {
            let loss = number(loss + 0.05);
            write(Eval::new(step + 1, loss).record());
        }
    }
    fs::write(folder.join("metrics.jsonl"), log).unwrap();
}
