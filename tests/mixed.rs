//! Mixed precision: whole models compared with f64 and with f32, the loss scale, and the refusal on a device without 16-bit
//! floats. `cli/whole.rs` tests that a resumed run has the same bits.

use crate::support::{gpu, open, seed};
use crate::training::{Bounds, agrees_within, batches, config, engine as fresh, engine_on, has_f16};
use normfree::config::Config;
use normfree::fault::Kind;
use normfree::gpu::OpenOptions;
use normfree::observe::quantities::{LOSS_SCALE, OVERFLOW};
use normfree::train::engine::{Engine, LossScale, StepReading};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const MIXED: &str = "train.precision=mixed";

/// Every number stored in f16 is off by 2⁻¹¹ = 5e-4 of itself, at random. The loss is a mean over logits after some ten
/// such roundings, most of which average out. A gradient has gone through some twenty: √20 · 5e-4 ≈ 2e-3 of the larger
/// elements, and several times that in the worst of thousands. AdamW moves an element by the learning rate whatever its
/// gradient's size, so for the smallest gradients the roundings decide; with weights of 0.1, ten steps of 1e-2 add up to
/// some percent of a tensor.
pub const SMOOTH: Bounds = Bounds { loss: [2e-4, 2e-3], gradients: 1e-2, slopes: 5e-2, weights: 5e-2 };

/// The same past a kink: if rounding moves a number over it, the whole gradient there appears or vanishes. Some five of
/// 14,000 such numbers are that close. One adds up to some 3 · 2 standard deviations of a product to a sum of 54 terms, and
/// the largest of 8,000 such sums is about 4 · √54: that is a fifth of it, and two of them may meet (0.28 was seen).
/// Rounding then decides more signs, and a bias that starts from zero is the sum of only ten such signs. It may also decide
/// the path of a slope whose gradient cancels, by the learning rate each step; this affects every unit of that slope, and
/// the loss of later steps (2.2e-3 was seen). A slope's own gradient is measured relative to its terms with random signs in
/// one micro-batch of 27 rows: what appears or vanishes in one row is up to √(1/27) = 0.19 of that, and in two 0.27 (0.10
/// was seen).
const KINKED: Bounds = Bounds { loss: [2e-4, 5e-3], gradients: 0.5, slopes: 0.3, weights: 0.4 };

/// The loss scale of a step, and whether the gradient overflowed at that scale.
fn scaling(reading: &StepReading) -> Option<(f64, bool)> {
    Some((reading.values.number(&LOSS_SCALE)?, reading.values.number(&OVERFLOW)? != 0.0))
}

#[test]
fn models_agree_with_f64() {
    if !has_f16(&config(&[MIXED])) {
        return;
    }
    let learned = "model.activation_function=learnable_lrelu";
    for (bounds, changes) in [
        (SMOOTH, &[][..]),
        (KINKED, &["model.norm=none", "model.activation_function=relu"]),
        (KINKED, &["model.norm=none", "model.final_norm=false", "model.bias=none", learned]),
        (KINKED, &["model.bias=all", learned, "model.slope_scope=shared", "train.optimizer=adamw"]),
        // Rows that fit an image in f16, and rows that do not fill a vector.
        (SMOOTH, &["model.n_embd=128", "model.activation_function=gelu_new", "model.vocab_size=128"]),
        (SMOOTH, &["model.n_embd=24", "model.n_inner=36", "model.norm=none"]),
        (SMOOTH, &["model.norm=none", "model.activation_function=none"]),
        (SMOOTH, &["model.norm=bhyt", "model.final_norm=derf", "model.embedding_scale=true"]),
        (SMOOTH, &["model.norm=taper_norm", "model.ffn_norm=seed_norm", "train.steps=10"]),
        (SMOOTH, &["model.norm=rms_norm", "model.norm_position=post"]),
        (SMOOTH, &["model.scale_loss=0.5", "train.taper_start=0.02"]),
        (SMOOTH, &["model.norm=fake_layer_norm", "model.ffn_norm=power_norm", "train.removal_start=2"]),
        (SMOOTH, &["model.family=gpt_neox"]),
        (KINKED, &["model.family=gpt_neox", "model.norm=none", "model.activation_function=relu"]),
    ] {
        agrees_within(&[&[MIXED], changes].concat(), &bounds);
    }
}

/// The kernels a GPU gets.
#[test]
fn a_step_as_on_a_gpu_agrees_with_one_in_f32() {
    if !has_f16(&config(&[MIXED])) {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    for norm in ["model.norm=none", "model.norm=layer_norm"] {
        let batches = batches(&config(&[]), &mut random);
        let [wide, mixed] = [&[norm][..], &[norm, MIXED]].map(|changes| {
            let mut gpu = gpu();
            gpu.pretend(|traits| traits.software = false);
            let (mut engine, _) = engine_on(gpu, &config(changes));
            engine.submit(0, 0, 1e-3, &batches).unwrap();
            engine.take(true).unwrap().unwrap()
        });
        assert!(!mixed.halted && scaling(&mixed) == Some((65536.0, false)), "{mixed:?}");
        assert!((wide.loss - mixed.loss).abs() < 1e-3 * wide.loss, "{wide:?} {mixed:?}");
        assert!((wide.grad_norm - mixed.grad_norm).abs() < 1e-2 * wide.grad_norm, "{wide:?} {mixed:?}");
    }
}

/// The bits of all weights, moments, and f16 copies.
fn bits(engine: &Engine) -> Vec<u32> {
    let mut bits = Vec::new();
    for parameter in engine.blueprint.arenas.parameters() {
        for prefix in ["", "m ", "v "] {
            let name = format!("{prefix}{}", parameter.name);
            let values = engine.store.read(&engine.device, &name, parameter.elements()).unwrap();
            bits.extend(values.into_iter().map(f32::to_bits));
        }
        if parameter.copied {
            let name = format!("half {}", parameter.name);
            let words = engine.store.read(&engine.device, &name, parameter.elements() / 2).unwrap();
            bits.extend(words.into_iter().map(f32::to_bits));
        }
    }
    bits
}

/// A scale so large that the gradient cannot fit: updates are skipped, to the bit, and the scale halves until it fits; then it
/// doubles after each window, and weights move.
#[test]
fn an_overflow_skips_the_update_and_halves_the_scale() {
    // The logits' gradient is up to 1/54 in size: 2²⁴ of that is 310,000, beyond f16's 65,504, and 2²¹ is not.
    let config = config(&[MIXED, "train.loss_scale=16777216", "train.loss_scale_window=3"]);
    if !has_f16(&config) {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (mut engine, _) = fresh(&config);
    let start = bits(&engine);
    let (mut scale, mut good, mut overflows) = (1 << 24, 0, 0);
    for step in 0..24 {
        let before = bits(&engine);
        engine.submit(step, step, 1e-3, &batches(&config, &mut random)).unwrap();
        let reading = engine.take(true).unwrap().unwrap();
        assert!(!reading.halted && reading.loss.is_finite(), "{reading:?}");
        let (used, overflow) = scaling(&reading).unwrap();
        assert_eq!(used, f64::from(scale), "step {step}");
        assert_eq!(overflow, !reading.grad_norm.is_finite(), "{reading:?}");
        assert_eq!(before == bits(&engine), overflow, "step {step}: {reading:?}");
        (scale, good) = match (overflow, good) {
            (true, _) => (scale / 2, 0),
            (false, 2) => (scale * 2, 0),
            (false, _) => (scale, good + 1),
        };
        overflows += u32::from(overflow);
        let now = engine.loss_scale().unwrap().unwrap();
        assert_eq!(now, LossScale { scale, good_steps: good }, "step {step}");
    }
    // First until it fits, and again after each doubling past that.
    assert!(overflows > 4, "{overflows} overflows");
    assert!(bits(&engine) != start);
}

/// f16 copies equal the weights rounded to nearest, after they were written and after an update.
#[test]
fn copies_follow_the_weights() {
    let config = config(&[MIXED]);
    if !has_f16(&config) {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (mut engine, _) = fresh(&config);
    for step in 0..3 {
        let mut copied = 0;
        for parameter in engine.blueprint.arenas.parameters().iter().filter(|p| p.copied) {
            let weights = engine.store.read(&engine.device, &parameter.name, parameter.elements()).unwrap();
            let name = format!("half {}", parameter.name);
            let words = engine.store.read(&engine.device, &name, parameter.elements() / 2).unwrap();
            let copies = words.iter().flat_map(|word| {
                let [a, b, c, d] = word.to_bits().to_le_bytes();
                [[a, b], [c, d]].map(|pair| half::f16::from_le_bytes(pair).to_f32())
            });
            for (weight, copy) in weights.iter().zip(copies) {
                // Within a unit of f16, whichever way the device rounds; below its normal numbers, within the smallest unit.
                let unit = (weight.abs() / 1024.0).max(6e-8);
                assert!((weight - copy).abs() <= unit, "{name} step {step}: {weight} {copy}");
            }
            copied += 1;
        }
        assert_eq!(copied, 1 + 4 * config.model.n_layer);
        engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
        engine.take(true).unwrap().unwrap();
    }
}

/// A loss that is not finite, and a gradient that is not finite at a scale of one, are handled by `train.on_nonfinite`.
#[test]
fn an_overflow_at_every_scale_halts() {
    let config = config(&[MIXED, "train.loss_scale=1"]);
    if !has_f16(&config) {
        return;
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let batches = batches(&config, &mut random);
    // A value that f16 cannot hold, in a matrix: the loss is not finite.
    let (mut engine, _) = fresh(&config);
    engine.store.write(&engine.device, "transformer.h.0.mlp.c_fc.weight", &[1e6_f32]);
    engine.copy_weights().unwrap();
    let before = bits(&engine);
    engine.submit(0, 0, 1e-3, &batches).unwrap();
    let reading = engine.take(true).unwrap().unwrap();
    assert!(reading.halted && !reading.loss.is_finite(), "{reading:?}");
    assert_eq!(scaling(&reading), Some((1.0, false)));
    assert_eq!(engine.loss_scale().unwrap(), Some(LossScale { scale: 1, good_steps: 0 }));
    assert!(bits(&engine) == before);
    // Rows of ±40,000 in the head: where the likeliest token is not the target, the gradient of the head's input is the rows'
    // difference, 80,000, at a weight of one; the loss is a difference of logits, large in f32.
    let (mut engine, _) = fresh(&config);
    let mut batch = batches[0].clone();
    batch.counted = 1;
    let table: Vec<f32> = (0..64 * 97).map(|_| if random.random() { 4e4 } else { -4e4 }).collect();
    engine.store.write(&engine.device, "transformer.wte.weight", &table);
    engine.copy_weights().unwrap();
    let before = bits(&engine);
    engine.submit(0, 0, 1e-3, &[batch]).unwrap();
    let reading = engine.take(true).unwrap().unwrap();
    assert!(reading.loss.is_finite() && !reading.grad_norm.is_finite(), "{reading:?}");
    assert!(reading.halted && bits(&engine) == before, "{reading:?}");
    assert_eq!(engine.loss_scale().unwrap(), Some(LossScale { scale: 1, good_steps: 0 }));
}

#[test]
fn a_device_without_f16_is_refused() {
    let mut gpu = open(&OpenOptions::default());
    gpu.pretend(|traits| traits.f16 = false);
    let fault = Engine::new(gpu, &config(&[MIXED])).err().expect("a refusal");
    assert_eq!(fault.kind, Kind::Device);
    let text = fault.to_string();
    for part in ["SHADER_F16", "--device", "train.precision = \"f32\""] {
        assert!(text.contains(part), "{text}");
    }
}

/// The losses of a small model over `steps` steps of text with something to learn.
fn losses(config: &Config, steps: u64, seed: u64) -> Vec<f64> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (mut engine, _) = fresh(config);
    let mut losses = Vec::new();
    for step in 0..steps {
        let mut batches = batches(config, &mut random);
        for batch in &mut batches {
            // Each token follows from the one before, so that there is something to learn.
            for row in batch.tokens.chunks_mut(config.train.sequence_length) {
                for at in 1..row.len() {
                    row[at] = (row[at - 1] * 5 + 3 + row[at] % 2) % config.model.vocab_size as u32;
                }
            }
            batch.derive(config.train.batch_size, None);
        }
        engine.submit(step, step, config.train.learning_rate_at(step), &batches).unwrap();
        losses.push(f64::from(engine.take(true).unwrap().unwrap().loss));
    }
    losses
}

/// The curve of mixed precision is that of f32, within 0.5% of the smoothed loss. Over 1,000 steps of real text this was
/// measured with the program itself (docs/performance.md, "Measured").
#[test]
fn the_loss_curve_is_that_of_f32() {
    let changes = ["train.steps=120", "train.learning_rate=3e-3", "model.embd_pdrop=0"];
    let mixed = config(&[&changes[..], &[MIXED]].concat());
    if !has_f16(&mixed) {
        return;
    }
    for norm in ["model.norm=none", "model.norm=layer_norm"] {
        let seed = seed();
        let [wide, mixed] = [&[norm][..], &[norm, MIXED]]
            .map(|more| losses(&config(&[&changes[..], more].concat()), 120, seed));
        assert!(wide[119] < 0.8 * wide[0], "nothing is learned: {} to {}", wide[0], wide[119]);
        let smooth =
            |curve: &[f64]| -> Vec<f64> { curve.windows(20).map(|w| w.iter().sum::<f64>() / 20.0).collect() };
        let apart =
            smooth(&wide).iter().zip(smooth(&mixed)).map(|(w, m)| (w - m).abs() / w).fold(0.0, f64::max);
        println!("{norm}: {apart:e} apart");
        assert!(apart < 5e-3, "{norm}: {apart:e} apart");
    }
}
