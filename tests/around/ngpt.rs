//! nGPT: models against f64, and what its paper promises: vectors of length one.

use super::{MIXED, NO_NORM};
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

const UNIT: &str = "train.unit_weights=true";
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
    let text = config(&[]).to_toml();
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Config::parse(&text, "test", &changes).unwrap_err().to_string()
}

#[test]
fn keys_that_exclude_each_other_are_refused_in_a_sentence() {
    for (changes, part) in [
        (&[UNIT, "train.project_weights=true"][..], "either to length one or to their first norm"),
        (&[UNIT, "model.residual=fixup", NO_NORM], "starts at zero has no vectors of length one"),
        (&[SPHERE, "model.norm_position=post"], "takes the length one from the stream"),
        (&[SPHERE, "model.embedding_scale=true"], "has no scale at its start"),
    ] {
        let message = refused(changes);
        assert!(message.contains(part), "{changes:?}: {message}");
    }
}
