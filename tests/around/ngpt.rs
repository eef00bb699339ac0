//! nGPT: models against f64, and what its paper promises: vectors of length one.

use super::{MIXED, NO_NORM};
use crate::cli::Place;
use crate::mixed::SMOOTH;
use crate::support::seed;
use crate::training::{agrees_within, batches, config, has_f16, within_f32};
use normfree::config::Config;
use normfree::device::Device;
use normfree::host::Host;
use normfree::model::Parameter;
use normfree::observe::quantities::{RESIDUAL_MAX, RESIDUAL_RMS};
use normfree::tape::Filed;
use normfree::train::engine::Engine;
use normfree::train::loader::fresh_weights;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const UNIT: &str = "train.unit_weights=true";
const FFN_GAINS: &str = "model.ffn_gains=true";
const HEAD_GAINS: &str = "model.head_gains=true";
const UNTIED: &str = "model.tie_embeddings=false";
const SPHERE: &str = "model.residual=ngpt";

#[test]
fn unit_weights_agree_with_f64() {
    within_f32(&[UNIT, NO_NORM]);
    within_f32(&[UNIT, "train.optimizer=muon", "model.bias=all"]);
    within_f32(&[UNIT, "model.family=llama", "model.n_kv_head=1", "train.gradient_accumulation_steps=1"]);
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[MIXED, UNIT], &SMOOTH);
    }
}

#[test]
fn steps_on_the_sphere_agree_with_f64() {
    within_f32(&[SPHERE, NO_NORM]);
    within_f32(&[SPHERE, "train.recompute=block", "model.residual_scale=0.3", UNIT]);
    within_f32(&[SPHERE, "model.family=gpt_neox", "train.recompute=ffn"]);
    within_f32(&[SPHERE, "model.family=llama", "model.n_kv_head=1", "train.gradient_accumulation_steps=1"]);
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[MIXED, SPHERE, NO_NORM], &SMOOTH);
    }
}

/// The rows of the residual stream behind every block, in some steps on the device and on the CPU. That each row alone has length one is
/// what the cases of `sphere` say.
#[test]
fn the_stream_has_length_one_behind_every_block() {
    for device in [crate::support::gpu(), Device::from(Host::open(2).unwrap())] {
        let config = config(&[SPHERE, NO_NORM, "observe.sample_every=1"]);
        let mut engine = Engine::new(device, &config).unwrap();
        fresh_weights(&engine, &config).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed());
        for step in 0..10 {
            engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
            let reading = engine.take(true).unwrap().unwrap();
            for (layer, &rms) in reading.values.layers(&RESIDUAL_RMS).iter().enumerate() {
                // The root of the mean square of rows of 64 numbers, 1/8: within some roundings to 24 bits.
                assert!((f64::from(rms) * 8.0 - 1.0).abs() < 1e-6, "step {step}, layer {layer}: {rms}");
            }
            for (layer, &largest) in reading.values.layers(&RESIDUAL_MAX).iter().enumerate() {
                assert!(largest <= 1.0, "step {step}, layer {layer}: {largest}");
            }
        }
    }
}

#[test]
fn gains_of_matrices_agree_with_f64() {
    within_f32(&[FFN_GAINS]);
    within_f32(&[FFN_GAINS, HEAD_GAINS, UNTIED, NO_NORM, "train.recompute=block", "model.bias=all"]);
    within_f32(&[HEAD_GAINS, "model.family=gpt_neox", "train.recompute=ffn"]);
    let gated = ["model.ffn=gated", "model.activation_function=silu", "train.gradient_accumulation_steps=1"];
    within_f32(&[&[FFN_GAINS, HEAD_GAINS, UNTIED, UNIT], &gated[..]].concat());
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[MIXED, FFN_GAINS, HEAD_GAINS, UNTIED], &SMOOTH);
    }
}

/// All parts together.
const NGPT: [&str; 13] = [
    "model.family=llama",
    NO_NORM,
    "model.final_norm=false",
    SPHERE,
    "model.qk_norm=unit",
    FFN_GAINS,
    HEAD_GAINS,
    UNTIED,
    UNIT,
    "model.ffn=gated",
    "model.activation_function=silu",
    "train.warmup_ratio=0",
    "train.weight_decay=0",
];

#[test]
fn the_whole_agrees_with_f64() {
    within_f32(&NGPT);
    within_f32(&[&NGPT[..], &["train.recompute=block", "train.gradient_accumulation_steps=1"]].concat());
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[&NGPT[..], &[MIXED]].concat(), &SMOOTH);
    }
}

/// One batch is learned by heart, on the device and on the CPU: from ln 97 = 4.6.
#[test]
fn it_trains() {
    for device in [crate::support::gpu(), Device::from(Host::open(2).unwrap())] {
        let config = config(&[&NGPT[..], &["model.embd_pdrop=0"]].concat());
        let mut engine = Engine::new(device, &config).unwrap();
        fresh_weights(&engine, &config).unwrap();
        let batch = batches(&config, &mut ChaCha8Rng::seed_from_u64(seed()));
        let losses: Vec<f32> = (0..60)
            .map(|step| {
                engine.submit(step, step, 1e-2, &batch).unwrap();
                engine.take(true).unwrap().unwrap().loss
            })
            .collect();
        println!("{losses:?}");
        assert!(losses[0] > 4.0 && losses[59] < 0.5 * losses[0], "{losses:?}");
    }
}

/// A run that is stopped and resumed ends with the same bytes; what is exported has no gains any more, and the same loss and text.
#[cfg(unix)]
#[test]
fn trained_models_are_resumed_read_and_exported() {
    let place = Place::with_data();
    let keys = [&NGPT[..], &["train.steps=300", "train.learning_rate=1e-2"]].concat();
    super::stopped_and_resumed(&place, &keys);

    place.succeeds(&["export", "whole", "--hf", "plain"]);
    let described: Value =
        serde_json::from_slice(&std::fs::read(place.path("plain/config.json")).unwrap()).unwrap();
    assert_eq!((&described["ffn_gains"], &described["residual"]), (&false.into(), &"ngpt".into()));
    let card = std::fs::read_to_string(place.path("plain/README.md")).unwrap();
    assert!(card.contains("trained with `ffn_gains = true` and `head_gains = true`"), "{card}");
    let loss = |path: &str, more: &[&str]| {
        let eval = [&["eval", path, "--chunks", "0", "--json"][..], more].concat();
        serde_json::from_str::<Value>(&place.succeeds(&eval)).unwrap()["loss"].as_f64().unwrap()
    };
    let (own, plain) = (loss("whole", &[]), loss("plain", &["--data", "data"]));
    // f32 on both sides, by other roundings of the matrices: a few thousand of 6e-8, of both signs.
    assert!((own - plain).abs() < 1e-6 * own, "{own} and {plain}");
    let text = |path: &str| {
        place.succeeds(&["sample", path, "--prompt", "fn", "--tokens", "8", "--temperature", "0"])
    };
    assert_eq!(text("whole"), text("plain"));
}

/// The lengths of a parameter's vectors along the residual stream, which is 64 wide, where none is alike to another extent.
fn lengths(parameter: &Parameter, values: &[f32]) -> Vec<f64> {
    let [rows, columns] = parameter.shape[..] else { return Vec::new() };
    if !parameter.decays {
        return Vec::new();
    }
    // A matrix [in, out] reads the stream; attention's and the network's last matrix write to it. Tables have rows of it.
    let ends = ["attn.c_proj.weight", "mlp.c_proj.weight"].iter().any(|end| parameter.name.ends_with(end));
    let by_columns = matches!(parameter.declared.filed, Filed::Matrix { .. }) && !ends;
    let (units, length) = if by_columns { (columns, rows) } else { (rows, columns) };
    assert_eq!(length, 64, "{} {:?}", parameter.name, parameter.shape);
    let at = |unit: usize, k: usize| if by_columns { k * columns + unit } else { unit * columns + k };
    let square = |unit: usize| (0..length).map(|k| f64::from(values[at(unit, k)]).powi(2)).sum::<f64>();
    (0..units).map(|unit| square(unit).sqrt()).collect()
}

/// Before the first step and after 1 and 100 of them, in f32 and, where the device has it, of the f16 copies too.
#[test]
fn every_vector_of_weights_has_length_one() {
    let mixed = has_f16(&config(&[MIXED]));
    let on_gpu = [&[UNIT][..], &[UNIT, MIXED]];
    let cpu = (Device::from(Host::open(2).unwrap()), &[UNIT][..]);
    let gpus = on_gpu[..1 + usize::from(mixed)].iter().map(|&changes| (crate::support::gpu(), changes));
    for (device, changes) in gpus.chain([cpu]) {
        let config = config(changes);
        let mut engine = Engine::new(device, &config).unwrap();
        fresh_weights(&engine, &config).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed());
        for step in 0..=100 {
            if [0, 1, 100].contains(&step) {
                all_have_length_one(&engine, step);
            }
            engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
            engine.take(true).unwrap().unwrap();
        }
    }
}

fn all_have_length_one(engine: &Engine, step: u64) {
    let mut count = 0;
    for parameter in engine.blueprint.arenas.parameters() {
        let read = |name: &str| -> Vec<f32> {
            engine.store.read(&engine.device, name, parameter.elements()).unwrap()
        };
        let lengths = lengths(parameter, &read(&parameter.name));
        count += lengths.len();
        for length in lengths {
            // 64 squares, a root and a quotient, each rounded to 24 bits.
            assert!((length - 1.0).abs() < 1e-6, "step {step}, {}: {length}", parameter.name);
        }
    }
    // The token and position tables; in each of 2 blocks q, k, v, 64 rows of attention's last matrix, 128 units twice.
    assert_eq!(count, 97 + 12 + 2 * (3 * 64 + 64 + 2 * 128));
}

fn refused(changes: &[&str]) -> String {
    let mut text = config(&[]).to_toml().parse::<toml::Table>().unwrap();
    text["model"].as_table_mut().unwrap().remove("n_inner");
    let text = text.to_string();
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Config::parse(&text, "test", &changes).unwrap_err().to_string()
}

#[test]
fn keys_that_exclude_each_other_are_refused_in_a_sentence() {
    for (changes, part) in [
        (&[UNIT, "train.project_weights=true"][..], "either to length one or to their first norm"),
        (&[UNIT, "model.residual=fixup", NO_NORM], "starts at zero has no vectors of length one"),
        (&[FFN_GAINS, "model.weight_norm=sigma_reparam"], "a matrix is scaled in one way"),
        (&[FFN_GAINS, "model.ffn=fused", "model.activation_function=none"], "no first matrix"),
        (&[HEAD_GAINS], "a head that is the token table"),
        (&[SPHERE, "model.norm_position=post"], "takes the length one from the stream"),
        (&[SPHERE, "model.embedding_scale=true"], "has no scale at its start"),
    ] {
        let message = refused(changes);
        assert!(message.contains(part), "{changes:?}: {message}");
    }
}
