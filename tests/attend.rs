//! What heads read: the same weights as the device's attention uses and as the f64 reference computes, and the files that show
//! them.

#[cfg(feature = "outside-tools")]
mod page;

use crate::cli::Place;
use crate::generate::MODELS;
use crate::support::{gpu, seed};
use crate::training::config;
use normfree::config::{Config, Precision};
use normfree::device::Device;
use normfree::generate::attend;
use normfree::host::Host;
use normfree::model::{Pass, initial_values, names, parameters, record};
use normfree::ops::cross_entropy::Logits;
use normfree::pattern::Head;
use normfree::reference::Memory;
use normfree::train::checkpoint::{ModelTensors, WeightFile, export};
use normfree::train::engine::Engine;
use normfree::train::loader::from_file;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::collections::BTreeMap;

/// A model with random weights, in a file and as values by name.
struct Model {
    config: Config,
    values: BTreeMap<String, Vec<f32>>,
    folder: tempfile::TempDir,
}

impl Model {
    fn new(changes: &[&str], random: &mut ChaCha8Rng) -> Self {
        let changes = [&["train.gradient_accumulation_steps=1", "train.batch_size=1"], changes].concat();
        let config = config(&changes);
        let engine = Engine::new(Host::open(2).unwrap(), &config).unwrap();
        let arenas = &engine.blueprint.arenas;
        let mut values = BTreeMap::new();
        for parameter in arenas.parameters() {
            let mut own = initial_values(random.random(), parameter);
            // More than the matrices: no bias is zero, no gain is one, no sink is closed.
            own.iter_mut().for_each(|value| *value += random.random_range(-0.1..0.1));
            engine.store.write(&engine.device, &parameter.name, &own);
            values.insert(parameter.name.clone(), own);
        }
        let folder = tempfile::tempdir().unwrap();
        let layout = ModelTensors::of(config.model.family, arenas.parameters());
        let path = folder.path().join("model.safetensors");
        export(&path, &layout, &mut arenas.source(&engine.device, &engine.store, None)).unwrap();
        Self { config, values, folder }
    }

    fn heads(&self, device: &Device, tokens: &[u32]) -> (Vec<Head>, f64) {
        let layout =
            ModelTensors::of(self.config.model.family, &parameters(&self.config.model, true, Precision::F32));
        let weights = WeightFile::open(&self.folder.path().join("model.safetensors"), &layout).unwrap();
        let mut heads = Vec::new();
        let largest = attend(device, &self.config.model, from_file(weights), tokens, &mut |head| {
            heads.push(head);
            Ok(())
        });
        (heads, largest.unwrap())
    }
}

/// Entropies, and the heads' weighted values by the weights, compared with those of the reference.
fn agrees_with_the_reference(model: &Model, heads: &[Head], tokens: &[u32]) {
    let config = &model.config.model;
    let pass = Pass {
        batch: 1,
        sequence: tokens.len(),
        micro_batches: 1,
        accumulation: model.config.train.accumulation,
        training: false,
        entropy: true,
        layers: false,
        spectrum: false,
        truncated: false,
        logits: Logits { piece_bytes: 1 << 20, kept_bytes: 0 },
        recompute: model.config.train.recompute,
        precision: Precision::F32,
    };
    let tape = record(config, &pass).tape;
    let mut memory = Memory::new(&tape);
    for (name, values) in &model.values {
        let values: Vec<f64> = values.iter().map(|&value| f64::from(value)).collect();
        memory.set(&tape, tape.find(name).unwrap(), &values);
    }
    let tokens_f64: Vec<f64> = tokens.iter().map(|&token| f64::from(token)).collect();
    memory.set(&tape, tape.find(names::TOKENS).unwrap(), &tokens_f64);
    let (count, width) = (tokens.len(), config.head_dim());
    let nodes = tape.nodes();
    let mut layer = 0;
    for (index, node) in nodes.iter().enumerate() {
        memory.run_node(&tape, node);
        if node.op.name() != "attention" {
            continue;
        }
        // A sink changes the output in place.
        if let Some(sink) =
            nodes[index..].iter().find(|n| n.op.name() == "attention_sink" && n.outputs == node.outputs[..1])
        {
            let mut after = memory.clone();
            after.run_node(&tape, sink);
            compare(&tape, &after, node, heads, (layer, count, width));
        } else {
            compare(&tape, &memory, node, heads, (layer, count, width));
        }
        layer += 1;
    }
    assert_eq!(layer * config.n_head, heads.len());
}

fn compare(
    tape: &normfree::tape::Tape,
    memory: &Memory,
    node: &normfree::tape::Node,
    heads: &[Head],
    (layer, count, width): (usize, usize, usize),
) {
    let (qkv, output) = (memory.get(tape, node.inputs[0]), memory.get(tape, node.outputs[0]));
    let entropies = memory.get(tape, node.outputs[2]);
    let columns = qkv.len() / count;
    let per_layer = columns / 3 / width;
    for head in &heads[layer * per_layer..][..per_layer] {
        assert_eq!(head.layer, layer);
        for query in 0..count {
            let wanted = entropies[head.head * count + query];
            let found = head.entropies[query];
            // q and k are f32 after a few hundred roundings; scores are of order one.
            assert!(
                (found - wanted).abs() < 2e-5,
                "layer {layer} head {} row {query}: {found}, {wanted}",
                head.head
            );
            let left = 1.0 - head.sinks.get(query).copied().unwrap_or(0.0);
            let sum: f64 = head.row(query).iter().map(|&weight| f64::from(weight)).sum();
            assert!((sum - left).abs() < 1e-5, "a row sums to {sum}, not {left}");
            for column in 0..width {
                let value = |key: usize| qkv[key * columns + 2 * columns / 3 + head.head * width + column];
                let read =
                    head.row(query).iter().enumerate().map(|(key, &weight)| f64::from(weight) * value(key));
                let (found, wanted) =
                    (read.sum::<f64>(), output[query * columns / 3 + head.head * width + column]);
                assert!(
                    (found - wanted).abs() < 2e-5,
                    "layer {layer} head {} row {query}: {found}, {wanted}",
                    head.head
                );
            }
        }
    }
}

#[test]
fn weights_are_those_of_the_kernel_and_of_the_reference() {
    let seed = seed();
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let cpu = Device::from(Host::open(2).unwrap());
    for changes in MODELS {
        let model = Model::new(changes, &mut random);
        let count = model.config.train.sequence_length;
        let tokens: Vec<u32> =
            (0..count).map(|_| random.random_range(0..model.config.model.vocab_size as u32)).collect();
        let (heads, largest) = model.heads(&cpu, &tokens);
        assert!(largest < 1e-4, "{changes:?}: {largest} nats from the kernel");
        agrees_with_the_reference(&model, &heads, &tokens);
    }
}

/// A driver's kernels give the same weights as the CPU's, and a text may have one token.
#[test]
fn devices_agree() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (cpu, adapter) = (Device::from(Host::open(2).unwrap()), gpu());
    for changes in [MODELS[0], &["model.attention_sink=true", "model.attention_softcap=2"], MODELS[12]] {
        let model = Model::new(changes, &mut random);
        for count in [1, model.config.train.sequence_length] {
            let tokens: Vec<u32> = (0..count as u32).map(|i| i * 7 % 90).collect();
            let [(one, _), (other, largest)] = [&cpu, &adapter].map(|device| model.heads(device, &tokens));
            assert!(largest < 1e-4, "{changes:?}: {largest} nats from the kernel");
            for (one, other) in one.iter().zip(&other) {
                let pairs = one.weights.iter().zip(&other.weights);
                let apart = pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
                assert!(apart < 1e-5, "{changes:?}: weights differ by {apart}");
            }
        }
    }
}

#[test]
fn attend_shows_a_text() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml"]);
    let shown = place.succeeds(&["attend", "runs/tiny", "--prompt", "def f_1(x):"]);
    assert!(shown.contains("layer 1") && shown.contains("head 1"), "{shown}");
    let page = std::fs::read_to_string(place.path("runs/tiny/attention.html")).unwrap();
    assert!(page.contains("SM+R · tiny · step 12") && page.contains("tokens of the text."));
    let picture = image::open(place.path("runs/tiny/attention.png")).unwrap();
    assert!(picture.width() > 300);

    let json = place.succeeds(&["attend", "runs/tiny", "--prompt", "def f_1(x):", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["kernel_difference"].as_f64().unwrap() < 1e-4, "{json}");
    let tokens = json["tokens"].as_array().unwrap();
    let text: String = tokens.iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!((text.as_str(), &json["step"]), ("def f_1(x):", &Value::from(12)));
    let heads = json["heads"].as_array().unwrap();
    assert_eq!(heads.len(), 4);
    let last = &heads[3];
    assert_eq!((&last["layer"], &last["head"]), (&Value::from(1), &Value::from(1)));
    for (query, row) in last["weights"].as_array().unwrap().iter().enumerate() {
        let weights: Vec<f64> =
            row.as_array().unwrap().iter().map(|weight| weight.as_f64().unwrap()).collect();
        assert!(weights.len() == query + 1 && (weights.iter().sum::<f64>() - 1.0).abs() < 1e-5);
        let nats: f64 = weights.iter().map(|p| -p * p.ln()).sum();
        assert!((last["entropies"][query].as_f64().unwrap() - nats).abs() < 1e-5);
    }

    // The run's own held-out text, of a given length, into one file or into a folder.
    place.succeeds(&["attend", "runs/tiny", "--tokens", "7", "--out", "some.svg"]);
    assert!(std::fs::read_to_string(place.path("some.svg")).unwrap().contains("7 tokens"));
    place.succeeds(&["attend", "runs/tiny/checkpoints/step-00000010", "--out", "figures"]);
    assert!(place.path("figures/attention.html").exists() && place.path("figures/attention.png").exists());

    place.fails(&["attend", "runs/tiny", "--prompt", ""], 2, &["there is no text to read"]);
    place.fails(&["attend", "runs/tiny", "--tokens", "17"], 2, &["17", "from 1 to 16"]);
    place.fails(&["attend", "runs/none"], 6, &["runs/none"]);
    place.fails(&["attend", "runs/tiny", "--file", "nowhere"], 9, &["nowhere"]);
    place.fails(&["attend", "runs/tiny", "--out", "tiny.toml/x.png"], 9, &["tiny.toml/x.png"]);
    let long = "def f_1(x): ".repeat(20);
    let output = place.command(&["attend", "runs/tiny", "--prompt", &long]).output().unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && told.contains("of which the first 16 are read"), "{told}");
}
