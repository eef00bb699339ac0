//! Text from a model: the reader with its cache gives what the training pass gives, and the cache changes nothing.

use crate::cli::Place;
use crate::support::{gpu, open, seed};
use crate::training::config;
use normfree::config::Config;
use normfree::data::Batch;
use normfree::device::Device;
use normfree::generate::{Reader, Sampler, Sampling, window};
use normfree::gpu::OpenOptions;
use normfree::model::initial_values;
use normfree::train::checkpoint::{ModelTensors, WeightFile, export};
use normfree::train::engine::Engine;
use normfree::train::loader::from_file;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// An engine with random weights, and a reader that loads the same from a file.
fn pair(gpus: [Device; 2], config: &Config, random: &mut ChaCha8Rng) -> (Engine, Reader) {
    let [training, reading] = gpus;
    let engine = Engine::new(training, config).unwrap();
    let arenas = &engine.blueprint.arenas;
    for parameter in arenas.parameters() {
        let mut values = initial_values(random.random(), parameter);
        // More than the matrices: no bias is zero, no gain is one.
        values.iter_mut().for_each(|value| *value += random.random_range(-0.1..0.1));
        engine.store.write(&engine.device, &parameter.name, &values);
    }
    engine.device.flush().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let layout = ModelTensors::of(config.model.family, arenas.parameters());
    export(&path, &layout, &mut arenas.source(&engine.device, &engine.store, None)).unwrap();
    let weights = WeightFile::open(&path, &layout).unwrap();
    let reader = Reader::new(reading, &config.model, from_file(weights)).unwrap();
    (engine, reader)
}

fn log_probability(logits: &[f32], token: u32) -> f64 {
    let peak = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|&logit| f64::from(logit - peak).exp()).sum();
    f64::from(logits[token as usize] - peak) - sum.ln()
}

/// Every token's probability from the reader, and from the evaluation pass, which has no cache.
fn agrees(gpus: [Device; 2], changes: &[&str], seed: u64) {
    let changes = [&["train.gradient_accumulation_steps=1", "train.batch_size=1"], changes].concat();
    let config = config(&changes);
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let (engine, mut reader) = pair(gpus, &config, &mut random);
    let length = config.train.sequence_length;
    let text: Vec<u32> =
        (0..length).map(|_| random.random_range(0..config.model.vocab_size as u32)).collect();
    let mut batch = Batch::new(1, length);
    batch.tokens.copy_from_slice(&text);
    let loss = |batch: &Batch| engine.evaluate(batch).unwrap();
    batch.derive(1, None);
    let targets = batch.targets.clone();
    for at in 0..length - 1 {
        batch.targets.fill(u32::MAX);
        batch.targets[at] = targets[at];
        let wanted = -loss(&batch);
        let logits = reader.logits(&text[..=at]).unwrap();
        let found = log_probability(&logits, text[at + 1]);
        // Two computations with a few hundred roundings of 6e-8 each, at logits of about one.
        assert!(
            (found - wanted).abs() <= 2e-5 * wanted.abs().max(1.0),
            "{changes:?} {at}: {found}, {wanted}"
        );
    }
}

/// Each norm, activation and bias, and positions that span more than one chunk.
pub const MODELS: [&[&str]; 23] = [
    &["model.n_positions=150", "train.sequence_length=140"],
    &["model.norm=none", "model.activation_function=relu", "model.bias=none"],
    &[
        "model.norm=none",
        "model.activation_function=leaky_relu",
        "model.leaky_slope=0.2",
        "model.final_norm=false",
    ],
    &["model.activation_function=learnable_lrelu", "model.slope_init=0.3", "model.bias=all"],
    &["model.activation_function=learnable_lrelu", "model.slope_scope=shared", "model.slope_init=0.3"],
    &["model.family=gpt_neox", "model.n_positions=150", "train.sequence_length=140"],
    &[
        "model.family=gpt_neox",
        "model.norm=none",
        "model.n_embd=24",
        "model.n_inner=36",
        "model.rotary_pct=0.5",
    ],
    &["model.learnable_temperature=true", "model.ffn_scaling=true", "model.entropy_regularization=0.01"],
    &[
        "model.family=gpt_neox",
        "model.learnable_temperature=true",
        "model.ffn=fused",
        "model.n_inner=256",
        "model.activation_function=none",
    ],
    &["model.qk_norm=rms_norm", "model.attention_gate=head"],
    &[
        "model.attention_sink=true",
        "model.attention_softcap=1",
        "model.residual=skip_init",
        "model.residual_scale=0.5",
    ],
    &["model.residual=layer_scale", "model.residual_scale=0.5", "model.family=gpt_neox"],
    &[
        "model.family=llama",
        "model.n_kv_head=1",
        "model.ffn=gated",
        "model.activation_function=silu",
        "model.rope_theta=100000",
    ],
    &["model.residual=ln_scale", "model.norm=none", "model.attention_sink=true"],
    &["model.family=gpt_neox", "model.qk_norm=plain", "model.attention_gate=element", "model.bias=all"],
    &["model.activation_function=none", "model.vocab_size=4203", "model.n_embd=36", "model.n_head=3"],
    &["model.norm=bhyt", "model.final_norm=derf", "model.embedding_scale=true"],
    &["model.norm=taper_norm", "model.ffn_norm=seed_norm", "model.final_norm=crms_norm"],
    &["model.norm=rms_norm", "model.norm_position=both", "model.norm_layers=1"],
    &["model.weight_norm=sigma_reparam", "model.attention_gate=element", "model.bias=all"],
    &[
        "model.family=llama",
        "model.n_kv_head=1",
        "model.qk_norm=unit",
        "model.residual=ngpt",
        "model.norm=none",
    ],
    &["model.family=gpt_neox", "model.head_gains=true", "model.ffn_gains=true", "model.vocab_size=4203"],
    &["model.norm=power_norm", "model.attention_norm=fake_layer_norm", "model.ffn_norm=unified_norm"],
];

#[test]
fn reader_agrees_with_the_training_pass() {
    let seed = seed();
    for changes in MODELS {
        agrees([gpu(), gpu()], changes, seed);
    }
}

#[test]
fn reader_agrees_with_the_kernels_of_a_gpu() {
    let device = || {
        let mut gpu = open(&OpenOptions::default());
        gpu.pretend(|traits| traits.software = false);
        gpu
    };
    agrees([device(), device()], MODELS[0], seed());
}

/// A text of `tokens` tokens.
fn text(reader: &mut Reader, tokens: usize, cached: bool, sampling: Sampling) -> Vec<u32> {
    let mut sampler = Sampler::new(sampling);
    let mut text = vec![3];
    while text.len() <= tokens {
        if !cached {
            reader.forget();
        }
        let logits = reader.logits(window(&text, reader.context())).unwrap();
        text.push(sampler.pick(&logits).unwrap());
    }
    text
}

/// 200 tokens in a context of 90, which they exceed more than once.
#[test]
fn cache_changes_no_token() {
    let config = config(&["model.n_positions=90", "model.initializer_range=0.3"]);
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let (_, mut reader) = pair([gpu(), gpu()], &config, &mut random);
    let sampling = |temperature| Sampling { temperature, top_k: 0, top_p: 0.95, seed: 5 };
    for temperature in [0.0, 1.0] {
        let with = text(&mut reader, 200, true, sampling(temperature));
        let without = text(&mut reader, 200, false, sampling(temperature));
        assert_eq!(with, without, "at temperature {temperature}");
        // The same again, from a reader that last read something else.
        assert_eq!(with, text(&mut reader, 200, true, sampling(temperature)));
    }
}

#[test]
fn sample_continues_a_prompt() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml"]);
    let sample =
        |more: &[&str]| place.succeeds(&[&["sample", "runs/tiny", "--prompt", "def f_"], more].concat());
    let text = sample(&["--tokens", "40"]);
    assert!(text.starts_with("def f_") && text.len() > 20, "{text}");
    assert_eq!(text, sample(&["--tokens", "40"]));
    assert_eq!(text, sample(&["--tokens", "40", "--no-cache"]));
    assert_ne!(text, sample(&["--tokens", "40", "--seed", "9"]));
    let json = sample(&["--tokens", "40", "--json", "--temperature", "0", "--ignore-end-of-text"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["tokens"].as_array().unwrap().len(), 40, "{json}");
    assert_eq!(json["prompt"], "def f_");
    let greedy = sample(&["--tokens", "40", "--top-k", "1", "--ignore-end-of-text"]);
    assert_eq!(greedy, format!("def f_{}\n", json["text"].as_str().unwrap()));
    // A document from its beginning.
    assert!(!place.succeeds(&["sample", "runs/tiny", "--tokens", "5", "--ignore-end-of-text"]).is_empty());

    std::fs::write(place.path("prompt"), [0xff, 0xfe]).unwrap();
    place.fails(&["sample", "runs/tiny", "--prompt-file", "prompt"], 4, &["prompt is not UTF-8", "prompt"]);
    place.fails(&["sample", "runs/none"], 6, &["runs/none"]);
    std::fs::rename(place.path("data"), place.path("elsewhere")).unwrap();
    // The run has a copy of the tokenizer.
    assert_eq!(text, sample(&["--tokens", "40"]));
    std::fs::remove_file(place.path("runs/tiny/tokenizer.json")).unwrap();
    place.fails(&["sample", "runs/tiny"], 4, &["runs/tiny/tokenizer.json", "--tokenizer FILE"]);
    let moved = ["--tokenizer", "elsewhere/tokenizer.json", "--tokens", "40"];
    assert_eq!(text, sample(&moved));
    for (option, value) in
        [("--temperature", "-1"), ("--top-p", "0"), ("--top-p", "nan"), ("--temperature", "inf")]
    {
        let output = place.command(&["sample", "runs/tiny", option, value]).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{option} {value}");
    }
}
