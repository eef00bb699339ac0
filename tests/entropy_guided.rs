//! Entropy-guided training: the regularizer, learned temperatures, scaled and fused feed-forward networks, in whole models;
//! and none of it remains when it is off.

use crate::cli::{Place, assert_same, sets};
use crate::mixed::SMOOTH;
use crate::support::seed;
use crate::training::{Reference, agrees_within, batches, config, engine, has_f16, within_f32};
use normfree::config::{Config, EntropyPenalty};
use normfree::model::{initial_values, names};
use normfree::observe::quantities::{ENTROPY_PENALTY, FFN_ALPHA, FFN_BETA, HEAD_ENTROPY, THRESHOLDS};
use normfree::ops::Traits;
use normfree::ops::embedding::sort_by_token;
use normfree::reference::Memory;
use normfree::tape::shapes;
use normfree::tape::{DType, Tape};
use normfree::train::engine::Blueprint;
use rand::SeedableRng;
use rand::seq::index::sample;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};

const NO_NORM: &str = "model.norm=none";
/// The paper's last model.
const SOFTMAX_ONLY: [&str; 6] = [
    NO_NORM,
    "model.activation_function=none",
    "model.ffn=fused",
    "model.n_inner=256",
    "model.ffn_scaling=true",
    "model.learnable_temperature=true",
];

/// The regularizer, so strong that its part of a gradient is as large as the cross-entropy's.
fn regularized(reading: &str) -> [String; 3] {
    // A sum has 27 rows.
    let strength = if reading == "row_sum" { "0.02" } else { "0.5" };
    // A head's mean over several micro-batches is not known while they run.
    let accumulation = if reading == "head_mean" { "mean_of_means" } else { "mean" };
    [
        format!("model.entropy_penalty={reading}"),
        format!("model.entropy_regularization={strength}"),
        format!("train.accumulation={accumulation}"),
    ]
}

fn with<'a>(changes: &[&'a str], more: &'a [String]) -> Vec<&'a str> {
    changes.iter().copied().chain(more.iter().map(String::as_str)).collect()
}

#[test]
fn regularized_models_agree_with_f64() {
    for reading in EntropyPenalty::WORDS.iter().map(|word| word.word) {
        let regularizer = regularized(reading);
        within_f32(&with(&[NO_NORM], &regularizer));
    }
    let [mean, sum] = ["row_mean", "row_sum"].map(regularized);
    within_f32(&with(&["train.recompute=block", "model.bias=all"], &mean));
    within_f32(&with(&["observe.entropy=false", "train.gradient_accumulation_steps=1"], &sum));
    within_f32(&with(&["model.n_embd=24", "model.n_inner=36", "train.recompute=ffn"], &mean));
}

#[test]
fn models_with_temperatures_and_scales_agree_with_f64() {
    within_f32(&[NO_NORM, "model.learnable_temperature=true"]);
    within_f32(&["model.learnable_temperature=true", "model.temperature_init=0.3", "train.recompute=block"]);
    within_f32(&[NO_NORM, "model.ffn_scaling=true", "model.bias=all"]);
    within_f32(&["model.ffn_scaling=true", "train.recompute=ffn", "train.gradient_accumulation_steps=1"]);
    let fused = ["model.ffn=fused", "model.activation_function=none", "model.n_inner=256"];
    within_f32(&[&fused[..], &[NO_NORM]].concat());
    within_f32(&[&fused[..], &["model.bias=all", "train.recompute=ffn"]].concat());
    for reading in ["row_mean", "head_mean"] {
        let regularizer = regularized(reading);
        within_f32(&with(&SOFTMAX_ONLY, &regularizer));
    }
    let narrow = regularized("row_mean");
    within_f32(&with(
        &[&SOFTMAX_ONLY[..], &["model.n_embd=24", "model.n_inner=96", "train.recompute=block"]].concat(),
        &narrow,
    ));
}

#[test]
fn mixed_precision_agrees_with_f64() {
    const MIXED: &str = "train.precision=mixed";
    if !has_f16(&config(&[MIXED])) {
        return;
    }
    let [mean, sum] = ["head_mean", "row_sum"].map(regularized);
    agrees_within(&with(&[MIXED, NO_NORM], &sum), &SMOOTH);
    agrees_within(&with(&[&[MIXED][..], &SOFTMAX_ONLY].concat(), &mean), &SMOOTH);
    agrees_within(
        &with(&[MIXED, "model.learnable_temperature=true", "model.ffn_scaling=true"], &mean),
        &SMOOTH,
    );
}

/// A model on the f64 reference, with one micro-batch in place.
struct Whole {
    tape: Tape,
    memory: Memory,
    config: Config,
}

impl Whole {
    fn new(config: Config, seed: u64) -> Self {
        let blueprint = Blueprint::new(&config, &Traits::floor());
        let tape = blueprint.micro.tape;
        let mut memory = Memory::new(&tape);
        for parameter in blueprint.arenas.parameters() {
            let values = initial_values(5, parameter);
            let values: Vec<f64> = values.into_iter().map(f64::from).collect();
            memory.set(&tape, tape.find(&parameter.name).unwrap(), &values);
        }
        let batch = batches(&config, &mut ChaCha8Rng::seed_from_u64(seed)).remove(0);
        let (sorted, segments) = sort_by_token(&batch.tokens);
        for (name, values) in [
            (names::TOKENS, &batch.tokens),
            (names::TARGETS, &batch.targets),
            (names::SORTED, &sorted),
            (names::SEGMENTS, &segments),
        ] {
            let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
            memory.set(&tape, tape.find(name).unwrap(), &values);
        }
        memory.set(&tape, tape.find(names::TARGET_WEIGHT).unwrap(), &[1.0 / f64::from(batch.counted)]);
        Self { tape, memory, config }
    }

    /// Runs it: the cross-entropy, the penalty, and which rows or means are beyond the margin.
    fn run(&mut self) -> (f64, f64, Vec<bool>) {
        let tape = &self.tape;
        let model = &self.config.model;
        let layers = 0..model.n_layer;
        let penalties: Vec<_> =
            layers.clone().filter_map(|layer| tape.find(&names::entropy_penalty(layer))).collect();
        let loss = tape.find(names::LOSS).unwrap();
        for &tensor in penalties.iter().chain([&loss]) {
            self.memory.clear(tape, tensor);
        }
        self.memory.run(tape);
        let penalty = penalties.iter().flat_map(|&p| self.memory.get(tape, p)).sum();
        let most = (self.config.train.sequence_length as f64).ln();
        let mut beyond = Vec::new();
        for layer in layers {
            let of = |name: &str| self.memory.get(tape, tape.find(name).unwrap());
            let entropy = of(&format!("h.{layer}.attn.attention.entropy"));
            let thresholds = of(&format!("transformer.h.{layer}.attn.reg_threshold_weights"));
            let length = self.config.train.sequence_length;
            let rows: Vec<(usize, f64)> =
                entropy.iter().enumerate().map(|(at, &nats)| (at / length % model.n_head, nats)).collect();
            let held: Vec<(usize, f64)> = match model.entropy_penalty {
                EntropyPenalty::HeadMean => (0..model.n_head)
                    .map(|h| {
                        let own: Vec<f64> = rows.iter().filter(|row| row.0 == h).map(|row| row.1).collect();
                        (h, own.iter().sum::<f64>() / own.len() as f64)
                    })
                    .collect(),
                _ => rows,
            };
            let far =
                |(h, nats): (usize, f64)| (nats - thresholds[h] * most).abs() > model.entropy_margin * most;
            beyond.extend(held.into_iter().map(far));
        }
        (self.memory.get(tape, loss)[0], penalty, beyond)
    }
}

/// The gradient of the whole sum, L + λ·penalty, in f64 compared with its central differences: for thresholds, temperatures,
/// scales, and parameters before attention; with rows inside the margin and beyond it on either side.
#[test]
fn the_gradient_is_that_of_the_sum() {
    for reading in EntropyPenalty::WORDS.iter().map(|word| word.word) {
        let seed = seed();
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let regularizer = regularized(reading);
        let more = [
            "model.embd_pdrop=0",
            "train.gradient_accumulation_steps=1",
            "model.learnable_temperature=true",
            "model.ffn_scaling=true",
            NO_NORM,
        ];
        let mut whole = Whole::new(config(&with(&more, &regularizer)), seed);
        for layer in 0..2 {
            let name = format!("transformer.h.{layer}.attn.reg_threshold_weights");
            let tensor = whole.tape.find(&name).unwrap();
            // ln T is 2.2, and means are about 1.4: means and rows are below one head's threshold by more than the margin, and
            // above the other's, or within.
            whole.memory.set(&whole.tape, tensor, &[0.95, if layer == 0 { 0.3 } else { 0.6 }]);
        }
        for parameter in whole.tape.parameters() {
            if let Some(gradient) = whole.tape.known_gradient(parameter) {
                whole.memory.clear(&whole.tape, gradient);
            }
        }
        let (loss, penalty, beyond) = whole.run();
        let far = beyond.iter().filter(|&&far| far).count();
        assert!(far > 0 && far < beyond.len(), "{reading}: {far} of {} beyond", beyond.len());
        assert!(penalty > 1e-3 * loss, "{reading}: {penalty} beside {loss}");
        let gradients: Vec<_> = whole
            .tape
            .parameters()
            .into_iter()
            .filter(|&parameter| {
                let name = &whole.tape.info(parameter).name;
                ["attn.", "mlp.alpha", "mlp.beta", "c_fc.weight", "wpe"]
                    .iter()
                    .any(|part| name.contains(part))
            })
            .map(|parameter| {
                let gradient = whole.tape.known_gradient(parameter).unwrap();
                (parameter, whole.memory.get(&whole.tape, gradient).to_vec())
            })
            .collect();
        let (mut worst, mut looked, mut crossed) = (0.0_f64, 0, 0);
        for (parameter, gradient) in gradients {
            let name = whole.tape.info(parameter).name.clone();
            let values = whole.memory.get(&whole.tape, parameter).to_vec();
            let largest = gradient.iter().fold(0.0_f64, |m, v| m.max(v.abs()));
            let sequence = whole.config.train.sequence_length;
            for at in sample(&mut random, values.len(), values.len().min(4)) {
                // A table's positions past the sequence have no gradient and no effect.
                let unused = name.contains("temperature") && at % whole.config.model.n_positions >= sequence;
                let mut kinds = Vec::new();
                let mut sum = |step: f64| {
                    let mut moved = values.clone();
                    moved[at] += step;
                    whole.memory.set(&whole.tape, parameter, &moved);
                    let (loss, penalty, beyond) = whole.run();
                    kinds.push(beyond);
                    loss + penalty
                };
                let h = 1e-3;
                let mut slope = |h: f64| (sum(h) - sum(-h)) / (2.0 * h);
                let central = (4.0 * slope(h / 2.0) - slope(h)) / 3.0;
                whole.memory.set(&whole.tape, parameter, &values);
                // If a row crosses the margin in between, the penalty jumps.
                if kinds.iter().any(|kind| *kind != beyond) {
                    crossed += 1;
                    continue;
                }
                assert!(!unused || gradient[at] == 0.0, "{name}[{at}]");
                let off = (central - gradient[at]).abs() / largest.max(1e-6);
                assert!(
                    off < 1e-6,
                    "{reading} seed {seed}: {name}[{at}]: {} against {central}",
                    gradient[at]
                );
                (worst, looked) = (worst.max(off), looked + 1);
            }
        }
        println!(
            "{reading} seed {seed}: {looked} elements, {crossed} crossed, off by {worst:e}; {far} rows beyond"
        );
        assert!(looked > 40 && crossed * 4 < looked, "{reading}: {looked} looked at, {crossed} crossed");
    }
}

/// What the host reads after a step: the cross-entropy alone as the loss, the penalty beside it, thresholds and scales.
#[test]
fn a_step_tells_its_penalty() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let regularizer = regularized("row_mean");
    for accumulation in ["train.gradient_accumulation_steps=1", "train.gradient_accumulation_steps=2"] {
        let changes = [NO_NORM, "model.embd_pdrop=0", "model.ffn_scaling=true", accumulation];
        let (plain, guided) = (config(&changes), config(&with(&changes, &regularizer)));
        let batches = batches(&plain, &mut random);
        let (mut one, _) = engine(&plain);
        let (mut other, parameters) = engine(&guided);
        for engine in [&mut one, &mut other] {
            engine.submit(0, 0, 1e-2, &batches).unwrap();
        }
        let [one, reading] = [&mut one, &mut other].map(|engine| engine.take(true).unwrap().unwrap());
        assert_eq!(one.loss.to_bits(), reading.loss.to_bits(), "the loss is the cross-entropy");
        assert_eq!(one.values.heads(&HEAD_ENTROPY), reading.values.heads(&HEAD_ENTROPY));
        assert!(one.values.get(&ENTROPY_PENALTY).is_none() && one.values.get(&THRESHOLDS).is_none());
        let mut reference = Reference::new(&other, &parameters);
        reference.step(&other, &guided, 0, &batches);
        let tape = &other.blueprint.micro.tape;
        let penalty = |layer| tape.find(&names::entropy_penalty(layer)).unwrap();
        let want: f64 = (0..2).flat_map(|layer| reference.micro.get(tape, penalty(layer))).sum();
        let got = reading.values.number(&ENTROPY_PENALTY).unwrap();
        assert!(want > 0.01 && (got - want).abs() < 1e-5 * want, "{got} against {want}");
        // The update came before: AdamW moved each by at most the learning rate.
        let thresholds = reading.values.heads(&THRESHOLDS);
        assert_eq!(thresholds.iter().map(Vec::len).collect::<Vec<_>>(), [2, 2]);
        assert!(thresholds.iter().flatten().all(|t| (t - 0.5).abs() < 0.011), "{reading:?}");
        for scales in [&FFN_ALPHA, &FFN_BETA].map(|scales| reading.values.layers(scales)) {
            assert!(
                scales.len() == 2 && scales.iter().all(|scale| (scale - 1.0).abs() < 0.011),
                "{reading:?}"
            );
        }
    }
}

/// Everything that decides a run's bits: the kernels in their order, with their constants, bindings and grids; what is trained
/// and how it decays.
fn work(config: &Config, device: &Traits) -> String {
    let blueprint = Blueprint::new(config, device);
    let mut work = format!("{:?}", blueprint.arenas.parameters());
    for tape in blueprint.tapes() {
        for node in tape.nodes() {
            let names =
                |ids: &[_]| ids.iter().map(|&id| tape.info(id).name.as_str()).collect::<Vec<_>>().join(", ");
            let recipe = node.op.recipe(&shapes(tape, node), device);
            work.push_str(&format!("{} -> {}: {recipe:?}\n", names(&node.inputs), names(&node.outputs)));
        }
    }
    work
}

/// When it is off, none of it exists, whatever its other keys say.
#[test]
fn parts_that_are_off_change_nothing() {
    let off = [
        "model.entropy_regularization=0",
        "model.entropy_penalty=head_mean",
        "model.entropy_margin=0.7",
        "model.entropy_threshold_init=3",
        "model.temperature_init=0.01",
        "model.learnable_temperature=false",
        "model.ffn_scaling=false",
        "model.ffn=standard",
    ];
    let software = Traits { software: true, lanes: 8, ..Traits::floor() };
    for changes in [&[][..], &[NO_NORM, "model.activation_function=relu"], &["train.precision=mixed"]] {
        for device in [&software, &Traits::floor()] {
            let [plain, told] = [&[][..], &off].map(|more| work(&config(&[changes, more].concat()), device));
            assert!(plain == told, "{changes:?}");
            for part in ["entropy_penalty", "guide", "temperature", "threshold", "alpha"] {
                assert!(!plain.contains(part), "{part} in {changes:?}");
            }
        }
    }
}

fn evaluated(place: &Place, run: &str) -> [f64; 2] {
    let log = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let last = log.lines().rfind(|line| line.contains("\"eval\"")).unwrap();
    let eval = place.succeeds(&["eval", run, "--json", "--chunks", "4"]);
    [last, &eval]
        .map(|text| serde_json::from_str::<serde_json::Value>(text).unwrap()["loss"].as_f64().unwrap())
}

const ALL: [&str; 6] = [
    "model.entropy_regularization=0.1",
    "model.entropy_penalty=row_mean",
    "model.learnable_temperature=true",
    "model.ffn_scaling=true",
    "model.activation_function=none",
    "model.ffn=fused",
];

/// A run may start from a model without the tensors that guide entropy, which then start fresh; one without the regularizer
/// may start from a model with thresholds; none may start from temperatures that it has no place for.
#[test]
fn runs_start_from_other_models() {
    let place = Place::with_data();
    let run = |name: &str, keys: &[&str]| {
        [&["train", "tiny.toml", "--run", name][..], &sets(keys)]
            .concat()
            .into_iter()
            .map(str::to_owned)
            .collect()
    };
    let succeeds = |arguments: Vec<String>| {
        place.succeeds(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    };
    succeeds(run("plain", &["train.steps=2"]));
    let from =
        |run: &str, step: u32| format!("train.init_from={run}/checkpoints/step-{step:08}/model.safetensors");
    let [plain, guided, warm] = [("plain", 2), ("guided", 1), ("warm", 1)].map(|(run, step)| from(run, step));
    let regularizer = "model.entropy_regularization=0.1";
    // The first step has rate 0: what is saved after it is the starting point.
    succeeds(run(
        "guided",
        &[
            &plain,
            "train.steps=1",
            regularizer,
            "model.ffn_scaling=true",
            "model.entropy_threshold_init=0.25",
        ],
    ));
    succeeds(run("warm", &[&plain, "train.steps=1", "model.learnable_temperature=true"]));
    let saved = |run: &str, step: u32| {
        let path = place.path(run).join(format!("checkpoints/step-{step:08}/model.safetensors"));
        let bytes = std::fs::read(path).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let owned =
            tensors.tensors().into_iter().map(|(name, view)| (name.to_string(), view.data().to_vec()));
        owned.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (old, new) = (saved("plain", 2), saved("guided", 1));
    for (name, data) in &old {
        assert!(new[name] == *data, "{name} is not that of the file");
    }
    let value = |name: &str| f32::from_le_bytes(new[name][..4].try_into().unwrap());
    assert_eq!(value("transformer.h.1.attn.reg_threshold_weights"), 0.25);
    assert_eq!((value("transformer.h.0.mlp.alpha"), value("transformer.h.0.mlp.beta")), (1.0, 1.0));
    succeeds(run("scaled", &[&guided, "train.steps=1", "model.ffn_scaling=true"]));
    let refused = run("cold", &[&warm, "train.steps=1"]);
    let refused: Vec<&str> = refused.iter().map(String::as_str).collect();
    place.fails(&refused, 5, &["learnable_temperature = true there, false here"]);
}

/// A run of the whole model has the same bytes in two pieces as in one: log, checkpoint, and evaluation.
#[test]
fn runs_are_logged_saved_and_resumed() {
    let place = Place::with_data();
    let run = |name: &str, more: &[&str]| {
        place.succeeds(&[&["train", "tiny.toml", "--run", name][..], &sets(&ALL), more].concat())
    };
    run("whole", &[]);
    run("again", &[]);
    assert_same(&place.path("whole"), &place.path("again"));
    let newest = place.path("again/checkpoints/step-00000012");
    std::fs::remove_dir_all(&newest).unwrap();
    place.succeeds(&["train", "--resume", "--run", "again"]);
    assert_same(&place.path("whole"), &place.path("again"));
    let log = std::fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let records: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |kind: &str| records.iter().filter(|r| r["kind"] == kind).cloned().collect::<Vec<_>>();
    for step in of("step") {
        assert!(
            step["entropy_penalty"].as_f64().unwrap() >= 0.0 && step["loss"].as_f64().unwrap() > 0.0,
            "{step}"
        );
    }
    let thresholds = of("entropy_thresholds").pop().unwrap();
    assert!(thresholds["thresholds"][1][0].as_f64().unwrap() > 0.0, "{thresholds}");
    let scales = of("ffn_scales").pop().unwrap();
    assert!(
        scales["alpha"][1].as_f64().unwrap() > 0.0 && scales["beta"][0].as_f64().unwrap() > 0.0,
        "{scales}"
    );
    let layers = of("layers").pop().unwrap();
    assert_eq!((&layers["zeros"], &layers["dead"]), (&serde_json::json!([]), &serde_json::json!([])));
    let [logged, again] = evaluated(&place, "whole");
    assert_eq!(logged, again);
    place.succeeds(&["plot", "whole"]);
    place.succeeds(&["report", "whole"]);
    let weights = "train.init_from=whole/checkpoints/step-00000012/model.safetensors";
    run("from", &["--set", weights]);
    let bytes = std::fs::read(place.path("whole/checkpoints/step-00000012/model.safetensors")).unwrap();
    let header = String::from_utf8_lossy(&bytes[8..4096.min(bytes.len())]).into_owned();
    for name in [
        "transformer.h.0.attn.temperature",
        "transformer.h.1.attn.reg_threshold_weights",
        "transformer.h.1.mlp.alpha",
        "transformer.h.0.mlp.beta",
        "transformer.h.0.mlp.c_proj.weight",
    ] {
        assert!(header.contains(name), "{name} in {header}");
    }
    assert!(!header.contains("c_fc"), "{header}");
}

/// On software drivers attention's kernels without guidance are identical to those from before it existed, so no bit of a run
/// without it has changed. Whoever changes them on purpose writes the new digest here.
#[test]
fn unguided_attention_is_unchanged() {
    const DIGEST: &str = "c5e1dc3cfff5e02959d87ae174f1f257b4a59ae838bca6d1ddc5b3ed3e320d3b";
    let software = |lanes| Traits { software: true, lanes, f16: true, ..Traits::floor() };
    let mut digest = Sha256::new();
    for device in [software(0), software(4), software(8)] {
        for (width, dtype) in [8, 32, 64, 128].into_iter().flat_map(|w| [(w, DType::F32), (w, DType::F16)]) {
            for entropy in [false, true] {
                let mut tape = Tape::new();
                let qkv = tape.tracked_input("qkv", &[2 * 40, 3 * 2 * width], dtype);
                let attended = tape.attention(qkv, 2, 40, entropy);
                let seed = tape.input("seed", &[2 * 40, 2 * width], dtype);
                tape.backward_from(&[(attended.output, seed)]);
                for node in tape.nodes() {
                    for dispatch in node.op.recipe(&shapes(&tape, node), &device).dispatches {
                        digest.update(format!("{} {:?}", dispatch.kernel.entry, dispatch.groups));
                        // Comments compute nothing.
                        for line in dispatch.kernel.text.lines() {
                            let code = line.split("//").next().unwrap_or_default().trim_end();
                            digest.update(if code.is_empty() { String::new() } else { format!("{code}\n") });
                        }
                    }
                }
            }
        }
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, DIGEST);
}
