//! Gradient accumulation: the micro-batches of a step equal the larger batch, even if their numbers of targets differ.

use crate::support::seed;
use crate::training::{agrees, config, engine, has_f16};
use normfree::config::Config;
use normfree::data::Batch;
use normfree::fault::Kind;
use normfree::observe::quantities::{ENTROPY_PENALTY, HEAD_ENTROPY};
use normfree::train::arena::Arenas;
use normfree::train::engine::StepReading;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const SEQUENCES: usize = 8;
/// Does not count as a target.
const END_OF_TEXT: u32 = 0;

/// Eight sequences. The end of text is rare in the first ones; the last consists of almost nothing else.
fn sequences(config: &Config, random: &mut ChaCha8Rng) -> Vec<Vec<u32>> {
    let length = config.train.sequence_length;
    (0..SEQUENCES)
        .map(|sequence| {
            let mut token = || match random.random_range(0..SEQUENCES) {
                draw if draw < sequence => END_OF_TEXT,
                _ => random.random_range(1..config.model.vocab_size as u32),
            };
            (0..length).map(|_| token()).collect()
        })
        .collect()
}

/// One step over the sequences in micro-batches of `size`, and its gradient.
fn step(size: usize, sequences: &[Vec<u32>], changes: &[&str]) -> (StepReading, Vec<f32>) {
    let sizes = [
        format!("train.batch_size={size}"),
        format!("train.gradient_accumulation_steps={}", SEQUENCES / size),
        "model.embd_pdrop=0".to_owned(),
    ];
    let config = config(&[&sizes.each_ref().map(String::as_str)[..], changes].concat());
    let (mut engine, _) = engine(&config);
    let batches: Vec<Batch> = sequences
        .chunks(size)
        .map(|rows| {
            let mut batch = Batch::new(size, config.train.sequence_length);
            batch.tokens = rows.concat();
            batch.derive(size, Some(END_OF_TEXT));
            batch
        })
        .collect();
    engine.submit(0, 0, 1e-3, &batches).unwrap();
    let reading = engine.take(true).unwrap().unwrap();
    let elements = engine.blueprint.arenas.elements();
    let gradient = engine.store.read(&engine.device, Arenas::GRADIENTS, elements).unwrap();
    (reading, gradient)
}

/// The largest difference, relative to the largest magnitude.
fn apart(a: &[f32], b: &[f32]) -> f32 {
    let scale = a.iter().fold(1e-12_f32, |most, x| most.max(x.abs()));
    a.iter().zip(b).fold(0.0_f32, |worst, (x, y)| worst.max((x - y).abs())) / scale
}

/// Whatever the micro-batches, a step gives the same numbers within these bounds: one for the step's numbers, one for the
/// gradient.
fn same_step(changes: &[&str], numbers: f32, gradient: f32) {
    let seed = seed();
    let drawn = sequences(&config(changes), &mut ChaCha8Rng::seed_from_u64(seed));
    let whole = step(SEQUENCES, &drawn, changes);
    let all = |reading: &StepReading| {
        let mut all = vec![reading.loss, reading.grad_norm];
        all.extend(reading.values.heads(&HEAD_ENTROPY).iter().flatten());
        all.extend(reading.values.number(&ENTROPY_PENALTY).map(|penalty| penalty as f32));
        all
    };
    assert!(whole.0.loss > 0.0 && whole.0.values.heads(&HEAD_ENTROPY).len() == 2);
    for size in [1, 2, 4] {
        let parts = step(size, &drawn, changes);
        let place = format!("seed {seed}, {changes:?}: {}×{size} against 1×8", SEQUENCES / size);
        assert_eq!(parts.0.targets, whole.0.targets, "{place}");
        for (part, whole) in all(&parts.0).into_iter().zip(all(&whole.0)) {
            assert!((part - whole).abs() <= numbers * whole.abs(), "{place}: {part} and {whole}");
        }
        let off = apart(&whole.1, &parts.1);
        assert!(off <= gradient, "{place}: gradients {off:e} apart");
    }
}

const PENALTY: [&str; 3] =
    ["model.norm=none", "model.entropy_regularization=0.16", "model.entropy_penalty=row_sum"];
const MEAN_PENALTY: [&str; 3] =
    ["model.norm=none", "model.entropy_regularization=0.16", "model.entropy_penalty=row_mean"];

#[test]
fn micro_batches_are_the_larger_batch() {
    // The bounds allow for f32 sums of some thousand terms in another order.
    for changes in [&[][..], &["model.norm=none", "model.activation_function=relu"], &PENALTY, &MEAN_PENALTY]
    {
        same_step(changes, 2e-6, 1e-5);
    }
}

#[test]
fn micro_batches_are_the_larger_batch_in_mixed_precision() {
    let mixed = "train.precision=mixed";
    if !has_f16(&config(&[mixed])) {
        return;
    }
    // A sum in another order can round to the next f16 (2⁻¹¹) on its way to the next product.
    for changes in [&[mixed][..], &[&PENALTY[..], &[mixed]].concat()] {
        same_step(changes, 5e-4, 2e-3);
    }
}

/// The original trainer's arithmetic: the mean over micro-batches of each micro-batch's own mean.
#[test]
fn means_of_means_are_kept_for_parity() {
    let seed = seed();
    let drawn = sequences(&config(&[]), &mut ChaCha8Rng::seed_from_u64(seed));
    let means = step(1, &drawn, &["train.accumulation=mean_of_means"]).0.loss;
    let alone: Vec<(f32, u64)> = drawn
        .iter()
        .map(|sequence| {
            // A micro-batch of eight copies of a sequence has that sequence's mean.
            let (reading, _) = step(SEQUENCES, &vec![sequence.clone(); SEQUENCES], &[]);
            (reading.loss, reading.targets)
        })
        .collect();
    let mean = alone.iter().map(|(loss, _)| loss).sum::<f32>() / SEQUENCES as f32;
    assert!((means - mean).abs() <= 2e-6 * mean, "seed {seed}: {means} and {mean}");
    let counts: Vec<u64> = alone.iter().map(|&(_, targets)| targets).collect();
    assert!(counts.iter().max() > counts.iter().min(), "seed {seed}: even counts show nothing: {counts:?}");
    let whole = step(1, &drawn, &[]).0.loss;
    assert!((means - whole).abs() > 1e-5 * whole, "seed {seed}: both are {whole}");
}

/// The mean of means agrees with f64 as well; the tests of whole models check the plain mean.
#[test]
fn means_of_means_agree_with_f64() {
    agrees(&["train.accumulation=mean_of_means", "model.activation_function=gelu"]);
}

#[test]
fn a_step_knows_that_it_has_no_target() {
    let empty = vec![vec![END_OF_TEXT; config(&[]).train.sequence_length]; SEQUENCES];
    for changes in [&[][..], &["train.accumulation=mean_of_means"]] {
        let (reading, gradient) = step(2, &empty, changes);
        assert_eq!(reading.targets, 0);
        assert!(!reading.halted && gradient.iter().all(|&g| g == 0.0));
    }
}

#[test]
fn a_mean_over_several_micro_batches_is_refused() {
    let refused = |accumulation: &str, micro_batches: usize| {
        let text = normfree::config::Config::parse(
            &config(&[]).to_toml(),
            "test",
            &[
                "model.entropy_regularization=0.1".to_owned(),
                "model.entropy_penalty=head_mean".to_owned(),
                format!("train.accumulation={accumulation}"),
                format!("train.gradient_accumulation_steps={micro_batches}"),
            ],
        );
        text.err()
    };
    let fault = refused("mean", 2).expect("a head's mean over a step is not known in its micro-batches");
    assert_eq!(fault.kind, Kind::Config);
    assert!(fault.to_string().contains("mean_of_means"), "{fault}");
    assert_eq!(refused("mean_of_means", 2), None);
    assert_eq!(refused("mean", 1), None);
}
