//! Memory: recomputing instead of keeping changes no bit and saves bytes; one pool serves all plans; the reported plan is the
//! real one.

use crate::support::{gpu, seed};
use crate::training::{batches, config, engine};
use normfree::config::{Config, Recompute};
use normfree::model::names;
use normfree::ops::Traits;
use normfree::ops::cross_entropy::{Logits, Targets};
use normfree::plan::{Home, Liveness, Pool, Purpose};
use normfree::tape::{DType, Phase, Tape};
use normfree::train::engine::{Blueprint, StepReading};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const ALL: [Recompute; 3] = [Recompute::None, Recompute::Ffn, Recompute::Block];

fn with(config: &Config, recompute: Recompute) -> Config {
    let mut config = config.clone();
    config.train.recompute = recompute;
    config
}

/// Readings, gradients and weights after three steps from a poisoned pool, as bits.
fn trained(config: &Config, random: &mut ChaCha8Rng) -> (Vec<StepReading>, Vec<(String, Vec<u32>)>) {
    let (mut engine, _) = engine(config);
    engine.micro.poison(&engine.device, u32::MAX);
    let mut readings = Vec::new();
    for step in 0..3 {
        engine.submit(step, step, 1e-2, &batches(config, random)).unwrap();
        readings.extend(engine.take(true).unwrap());
    }
    let mut tensors = Vec::new();
    for parameter in engine.blueprint.arenas.parameters() {
        for name in [parameter.name.clone(), format!("grad {}", parameter.name)] {
            let values = engine.store.read(&engine.device, &name, parameter.elements()).unwrap();
            tensors.push((name, values.iter().map(|value| value.to_bits()).collect()));
        }
    }
    (readings, tensors)
}

#[test]
fn recomputed_tensors_have_the_same_bits() {
    made_again_has_the_same_bits("gpt2");
}

/// Trains a family with everything that can be recomputed, in each setting.
pub fn made_again_has_the_same_bits(family: &str) {
    let seed = seed();
    for norm in ["none", "layer_norm"] {
        for activation in ["gelu", "learnable_lrelu"] {
            let changes = [("family", family), ("norm", norm), ("activation_function", activation)];
            let changes = changes.map(|(key, word)| format!("model.{key}={word}"));
            let mut config = config(&changes.each_ref().map(String::as_str));
            config.model.embd_pdrop = 0.1;
            assert!(config.train.gradient_accumulation_steps == 2 && config.model.embd_pdrop > 0.0);
            let [kept, others @ ..] =
                ALL.map(|kind| trained(&with(&config, kind), &mut ChaCha8Rng::seed_from_u64(seed)));
            assert!(kept.0.iter().all(|reading| reading.loss.is_finite() && !reading.halted), "{:?}", kept.0);
            for (again, kind) in others.iter().zip(&ALL[1..]) {
                assert_eq!(again.0, kept.0, "{changes:?}, recompute {kind}");
                for ((name, bits), (_, want)) in again.1.iter().zip(&kept.1) {
                    assert!(bits == want, "{changes:?}, recompute {kind}: {name} has other bits");
                }
            }
        }
    }
}

/// Scopes and names of the nodes that recompute tensors, in order.
pub fn again(tape: &Tape) -> Vec<String> {
    let nodes = tape.nodes().iter();
    let made = nodes.filter(|node| node.outputs.iter().any(|&o| tape.info(o).name.ends_with(" again")));
    made.map(|node| {
        assert_eq!(node.phase, Phase::Backward);
        format!("{} {}", node.scope, node.op.name())
    })
    .collect()
}

/// Only what an adjoint reads is recorded again, once, and in the backward pass.
#[test]
fn only_needed_tensors_are_recomputed() {
    let record = |changes: &[&str], recompute| {
        Blueprint::new(&with(&config(changes), recompute), &Traits::floor()).micro.tape
    };
    for norm in ["model.norm=none", "model.norm=layer_norm"] {
        assert_eq!(again(&record(&[norm], Recompute::None)), Vec::<String>::new());
        assert_eq!(again(&record(&[norm], Recompute::Ffn)), ["h.1.mlp activation", "h.0.mlp activation"]);
        let mut block = vec!["attn matmul", "attn attention", "attn matmul", "mlp matmul", "mlp activation"];
        if norm.ends_with("layer_norm") {
            block.insert(0, "attn layer_norm");
            block.insert(4, "mlp layer_norm");
        }
        let want: Vec<String> =
            [1, 0].iter().flat_map(|layer| block.iter().map(move |op| format!("h.{layer}.{op}"))).collect();
        assert_eq!(again(&record(&[norm], Recompute::Block)), want, "{norm}");
    }
    // Results that no adjoint reads are not computed twice.
    let mut config = config(&["train.recompute=block"]);
    config.model.n_layer = 1;
    let tape = Blueprint::new(&config, &Traits::floor()).micro.tape;
    let entropies = tape.nodes().iter().filter(|node| node.op.name() == "head_entropy").count();
    assert_eq!(entropies, 1, "{}", names::head_entropy(0));
}

#[test]
#[should_panic(expected = "adds to its outputs")]
fn accumulated_tensors_are_never_recomputed() {
    let mut tape = Tape::new();
    let x = tape.tracked_input("x", &[8, 16], DType::F32);
    let table = tape.parameter("table", &[64, 16]);
    let targets = tape.input("targets", &[8], DType::U32);
    let scale = tape.input("scale", &[1], DType::F32);
    let loss = tape.observation("loss", &[1]);
    let memory = Logits { piece_bytes: 1 << 20, kept_bytes: 0 };
    tape.remade(|tape| {
        tape.head_cross_entropy(x, table, Targets { targets, scale, loss, scaling: None }, memory);
    });
    tape.backward(loss);
}

/// Devices with different plans: with images and without.
fn devices() -> [Traits; 2] {
    let software = Traits { software: true, lanes: 8, ..Traits::floor() };
    [Traits::floor(), software]
}

#[test]
fn recomputation_takes_less_memory_and_more_work() {
    for device in devices() {
        for norm in ["none", "layer_norm"] {
            let mut config = config(&[&format!("model.norm={norm}")]);
            (config.model.n_layer, config.train.batch_size, config.train.sequence_length) = (4, 16, 12);
            let [none, ffn, block] = ALL.map(|kind| {
                let blueprint = Blueprint::new(&with(&config, kind), &device);
                (blueprint.demand(&device).intermediates, blueprint.flops())
            });
            println!("{norm}, {device:?}: {none:?} {ffn:?} {block:?}");
            assert!(none.0 > ffn.0 && ffn.0 > block.0, "{none:?} {ffn:?} {block:?}");
            assert!(none.1 < ffn.1 && ffn.1 < block.1, "{none:?} {ffn:?} {block:?}");
        }
    }
}

/// Evaluation and update fit into the memory that training takes, unless the model is tiny.
#[test]
fn one_pool_serves_every_plan() {
    for device in devices() {
        let mut config = config(&[]);
        (config.train.batch_size, config.train.sequence_length) = (16, 12);
        let blueprint = Blueprint::new(&config, &device);
        let [training, update, evaluation] = blueprint.tapes();
        let (alone, _) = Pool::plan([training, update], &device);
        let (shared, _) = Pool::plan(blueprint.tapes(), &device);
        assert_eq!(alone, shared);
        assert!(Pool::plan([evaluation], &device).0.bytes() > 0);
    }
}

/// An evaluation between two steps does not affect them.
#[test]
fn an_evaluation_in_between_changes_nothing() {
    let seed = seed();
    let config = config(&["train.recompute=block"]);
    let [apart, between] = [false, true].map(|evaluates| {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let (mut engine, _) = engine(&config);
        let held_out = batches(&config, &mut random).remove(0);
        let mut losses = Vec::new();
        for step in 0..3 {
            if evaluates {
                engine.micro.poison(&engine.device, u32::MAX);
                let loss = engine.evaluate(&held_out).unwrap();
                assert!(loss.is_finite() && loss > 0.0);
            }
            engine.submit(step, step, 1e-2, &batches(&config, &mut random)).unwrap();
            losses.extend(engine.take(true).unwrap());
        }
        losses
    });
    assert_eq!(apart, between);
}

/// No two tensors share memory at one time, none is larger than its place, and every purpose occurs.
#[test]
fn the_plan_is_sound_and_printed_completely() {
    for device in devices() {
        for kind in ALL {
            let mut config = with(&config(&["model.norm=none"]), kind);
            (config.model.n_layer, config.train.batch_size, config.train.sequence_length) = (4, 16, 12);
            let blueprint = Blueprint::new(&config, &device);
            let tapes = blueprint.tapes();
            let (pool, plans) = Pool::plan(tapes, &device);
            for (tape, (plan, recipes)) in tapes.iter().zip(&plans) {
                let alive = Liveness::new(tape, &pool, plan, recipes);
                let images: Vec<u64> = pool.image_sizes().collect();
                for (i, life) in alive.lives.iter().enumerate() {
                    let room = match life.home {
                        Home::Buffer(buffer) => pool.buffers[buffer],
                        Home::Image(image) => images[image],
                    };
                    assert!(life.bytes <= room && life.birth <= life.death, "{life:?} in {room}");
                    for other in &alive.lives[i + 1..] {
                        let apart = other.birth > life.death || life.birth > other.death;
                        assert!(life.home != other.home || apart, "{life:?} and {other:?}");
                    }
                }
                assert!(alive.peak().1 <= pool.bytes());
            }
            let training = Liveness::new(tapes[0], &pool, &plans[0].0, &plans[0].1);
            let (node, most) = training.peak();
            assert_eq!(most, Purpose::ALL.iter().map(|&purpose| training.of(purpose)[node]).sum::<u64>());
            let there = |purpose| training.of(purpose).iter().any(|&bytes| bytes > 0);
            for purpose in [Purpose::Kept, Purpose::Logits, Purpose::Gradient] {
                assert!(there(purpose), "{purpose:?}");
            }
            assert_eq!(there(Purpose::Again), kind != Recompute::None);
            assert_eq!(there(Purpose::Image), device.software);
        }
    }
}

/// The memory of this device, planned as a run would: what recomputation saves on it.
#[test]
fn this_device_saves_too() {
    let gpu = gpu();
    let mut config = config(&[]);
    (config.model.n_layer, config.train.batch_size, config.train.sequence_length) = (4, 16, 12);
    let bytes = ALL.map(|kind| {
        let (engine, _) = engine(&with(&config, kind));
        assert_eq!(engine.blueprint.demand(gpu.traits()).total(), engine.bytes(), "{kind}");
        engine.bytes()
    });
    assert!(bytes.is_sorted_by(|more, less| more > less), "{bytes:?}");
}
