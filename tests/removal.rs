//! Norms removed from a trained model: what is left computes the same without norms, and a run that removes them can be stopped.

use crate::cli::{Place, assert_same, sets};
use crate::support::seed;
use crate::training::{agrees, config};
use normfree::config::Config;
use normfree::config::Precision;
use normfree::fault::Kind;
use normfree::model::fold::{Values, fold};
use normfree::model::removal::Removal;
use normfree::model::{CachedPass, Parameter, names, parameters, record_reading};
use normfree::reference::Memory;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;

/// The logits of 9 tokens in f64.
fn logits(config: &Config, values: &Values) -> Vec<f64> {
    let reading = CachedPass { rows: 1, logits: true, piece_bytes: 1 << 20 };
    let tape = record_reading(&config.model, &reading);
    let mut memory = Memory::new(&tape);
    for (name, values) in values {
        let values: Vec<f64> = values.iter().map(|&v| f64::from(v)).collect();
        memory.set(&tape, tape.find(name).unwrap(), &values);
    }
    let mut all = Vec::new();
    for at in 0..9_u32 {
        memory.set(&tape, tape.find(names::READ).unwrap(), &[f64::from(at * at * 7 % 97)]);
        memory.set(&tape, tape.find(names::POSITIONS).unwrap(), &[f64::from(at)]);
        memory.run(&tape);
        all.extend_from_slice(memory.get(&tape, tape.find(names::LOGITS).unwrap()));
    }
    all
}

/// Random values for a model with fake norms, which are closed with scales of their own.
fn closed(config: &Config, random: &mut ChaCha8Rng) -> Values {
    let draw = |Parameter { name, shape, .. }: Parameter| {
        let state = name.ends_with(".held") || name.ends_with(".held_values");
        let gain = ["ln_", "norm"].iter().any(|part| name.contains(part)) && name.ends_with("weight");
        let values = (0..shape.iter().product()).map(|element: usize| {
            let drawn: f32 = StandardNormal.sample(random);
            match (state, element) {
                (true, 0) => 0.0,
                (true, _) => random.random_range(0.5..2.0),
                (false, _) => f32::from(u8::from(gain)) + 0.2 * drawn,
            }
        });
        (name, values.collect())
    };
    parameters(&config.model, false, Precision::F32).into_iter().map(draw).collect()
}

/// Of each family, arrangement, network and bias: logits of the folded model are those of the closed one to the rounding of its
/// weights, 6e-8 each.
#[test]
fn closed_norms_fold_away() {
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    let models: [&[&str]; 8] = [
        &["model.norm=fake_layer_norm"],
        &["model.norm=fake_layer_norm", "model.bias=all", "model.ffn=gated", "model.embedding_scale=true"],
        &[
            "model.norm=fake_layer_norm",
            "model.bias=none",
            "model.ffn=fused",
            "model.n_inner=256",
            "model.activation_function=none",
        ],
        &["model.norm=fake_layer_norm", "model.family=gpt_neox", "model.qk_norm=rms_norm"],
        &["model.norm=fake_layer_norm", "model.family=llama", "model.bias=query_key", "model.n_kv_head=1"],
        &["model.norm=fake_rms_norm", "model.family=llama", "model.n_kv_head=1", "model.n_inner=88"],
        &["model.norm=fake_rms_norm", "model.norm_layers=1", "model.final_norm=false"],
        &["model.norm=none", "model.final_norm=fake_rms_norm", "model.tie_embeddings=false"],
    ];
    for changes in models {
        let with = config(changes);
        let mut without = with.clone();
        without.model = with.model.without_norms().unwrap();
        without.validate().unwrap();
        let values = closed(&with, &mut random);
        let folded = fold(&with.model, values.clone()).unwrap();
        assert!(
            folded.keys().all(|name| !name.contains("ln_") && !name.contains("layernorm")),
            "{changes:?}"
        );
        let (there, here) = (logits(&with, &values), logits(&without, &folded));
        let most = there.iter().fold(0.0_f64, |most, v| most.max(v.abs()));
        let apart = there.iter().zip(&here).fold(0.0_f64, |most, (a, b)| most.max((a - b).abs()));
        assert!(most > 1.0 && apart < 1e-5 * most, "{changes:?}: {apart} of {most}");
    }
}

#[test]
fn what_cannot_be_folded_is_named() {
    let refuses = |changes: &[&str], parts: &[&str]| {
        let fault = config(changes).model.without_norms().unwrap_err();
        assert_eq!(fault.kind, Kind::Config);
        let text = fault.to_string();
        parts.iter().for_each(|part| assert!(text.contains(part), "{part} in {text}"));
    };
    refuses(&["model.norm=none", "model.final_norm=false"], &["it has none", "model.norm"]);
    refuses(&["model.norm=derf"], &["derf", "one norm"]);
    refuses(&["model.norm=none"], &["layer_norm and none"]);
    refuses(&["model.norm_position=post"], &["model.norm_position", "\"post\""]);
    refuses(&["model.residual=rezero"], &["model.residual", "rezero"]);
    refuses(&["model.attention_gate=head"], &["model.attention_gate"]);
    let fake = config(&["model.norm=fake_layer_norm"]);
    let mut values = closed(&fake, &mut ChaCha8Rng::seed_from_u64(seed()));
    values.get_mut("transformer.h.1.ln_1.held_values").unwrap()[0] = 1.0;
    let fault = fold(&fake.model, values.clone()).unwrap_err();
    assert_eq!(fault.kind, Kind::Checkpoint);
    assert!(fault.to_string().contains("transformer.h.1.ln_1"), "{fault}");
    values.get_mut("transformer.h.1.ln_1.held_values").unwrap()[0] = 0.0;
    values.get_mut("transformer.ln_f.weight").unwrap()[3] = 0.0;
    let fault = fold(&fake.model, values).unwrap_err();
    assert!(fault.to_string().contains("column 3"), "{fault}");
}

/// The published schedule of a model of twelve blocks.
#[test]
fn norms_are_removed_in_the_published_order() {
    let config = config(&["model.norm=fake_layer_norm"]);
    let at = |place| config.train.removed_at(place, 12);
    assert_eq!([0, 1, 11].map(|layer| at(Removal::Network(layer))), [20, 22, 42]);
    assert_eq!([0, 1, 11].map(|layer| at(Removal::QueryKey(layer))), [44, 46, 66]);
    assert_eq!([0, 1, 11].map(|layer| at(Removal::Value(layer))), [68, 71, 101]);
    assert_eq!(at(Removal::Head), 104);
    let pairs = config.train.removal_at(45, 2);
    assert_eq!(pairs.len(), 2 * Removal::count(2));
    // With two blocks all norms are gone after 34 steps.
    assert_eq!(pairs, vec![0.0; 14]);
    let before = config.train.removal_at(0, 2);
    assert_eq!(before, vec![1.0; 14]);
    let within = config.train.removal_at(21, 2);
    assert_eq!(within[..4], [0.0, 0.0, 1.0, 0.1]);
}

/// A model of every family while its norms are removed, one after another within ten steps.
#[test]
fn a_removal_agrees_with_f64() {
    let gaps = [
        "train.removal_start=1",
        "train.removal_gap_ffn=1",
        "train.removal_gap_qk=1.5",
        "train.removal_gap_v=1",
    ];
    for changes in [
        &["model.norm=fake_layer_norm"][..],
        &["model.norm=fake_layer_norm", "model.family=gpt_neox", "train.recompute=block"],
        &["model.norm=fake_rms_norm", "model.family=llama", "model.n_kv_head=1", "model.n_inner=88"],
    ] {
        agrees(&[&gaps[..], changes].concat());
    }
}

/// The records of a kind in a run's log.
fn records(place: &Place, run: &str, kind: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == kind).collect()
}

fn loss(place: &Place, path: &str) -> f64 {
    let eval: Value =
        serde_json::from_str(&place.succeeds(&["eval", path, "--json", "--chunks", "4"])).unwrap();
    eval["loss"].as_f64().unwrap()
}

/// From a trained model with LayerNorm to one without norms, by the program.
#[test]
fn a_trained_model_loses_its_norms() {
    let place = Place::with_data();
    let norm =
        ["model.norm=layer_norm", "train.learning_rate=1e-2", "train.steps=60", "train.checkpoint_every=60"];
    place.succeeds(&[&["train", "tiny.toml", "--run", "ln"], &sets(&norm)[..]].concat());
    let table = place.succeeds(&["remove-norm", "ln", "--steps", "60", "--control"]);
    assert!(table.contains("ln_removed/norm_free"), "{table}");
    let results = std::fs::read_to_string(place.path("ln_removed/removal.json")).unwrap();
    let results: Value = serde_json::from_str(&results).unwrap();
    let of = |key: &str| results[key].as_f64().unwrap();
    // Start 4; then gaps of 0.4, 0.4 and 0.6 for two blocks.
    assert_eq!(results["norms_end_at"], 7);
    assert_eq!(of("before"), loss(&place, "ln"));
    assert_eq!(of("control"), loss(&place, "ln_removed/control"));
    assert_eq!(of("removed"), loss(&place, "ln_removed"));
    assert_eq!(of("norm_free"), loss(&place, "ln_removed/norm_free"));
    // f32 on both sides, with weights that are rounded once more.
    assert!((of("removed") - of("norm_free")).abs() < 1e-5, "{results}");
    assert!(of("removed") != of("control") && of("removed") < of("before"), "{results}");

    let log = records(&place, "ln_removed", "norm_scales");
    let scale = |record: &Value| record["ffn_norm_scale"][0].as_f64().unwrap();
    // Held from the fifth step on.
    assert!(scale(&log[0]) != scale(&log[3]) && scale(&log[4]) == scale(log.last().unwrap()), "{log:?}");
    assert!(records(&place, "ln_removed", "attention").len() == 60, "entropies of every step");
    let layers = records(&place, "ln_removed", "layers");
    assert!(layers.len() == 60 && layers[0]["residual_max"][1].as_f64().unwrap() > 0.0);

    let text = place.succeeds(&[
        "sample",
        "ln_removed/norm_free",
        "--prompt",
        "def",
        "--tokens",
        "4",
        "--seed",
        "1",
    ]);
    assert!(!text.is_empty());
    // An ordinary checkpoint: it can be resumed, and start another run.
    let weights = "train.init_from=ln_removed/norm_free/checkpoints/step-00000000/model.safetensors";
    let bare = ["model.final_norm=false", "model.bias=all", "model.tie_embeddings=false", weights];
    place.succeeds(&[&["train", "tiny.toml", "--run", "on"], &sets(&bare)[..]].concat());
    assert!((records(&place, "on", "step")[0]["loss"].as_f64().unwrap() - of("norm_free")).abs() < 0.5);
    // Called again, it does nothing twice.
    let again = place.succeeds(&["remove-norm", "ln", "--steps", "60", "--control"]);
    assert_eq!(table, again);
    place.fails(&["remove-norm", "ln", "--steps", "90"], 6, &["train.steps", "--out"]);
}

#[test]
fn a_removal_that_cannot_end_is_refused() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "bare"]);
    place.fails(&["remove-norm", "bare"], 3, &["layer_norm and none", "model.norm"]);
    place.succeeds(&[&["train", "tiny.toml", "--run", "rms"], &sets(&["model.norm=rms_norm"])[..]].concat());
    let short = ["remove-norm", "rms", "--set", "train.steps=30"];
    place.fails(&short, 3, &["steps = 30", "that is step 34", "--steps"]);
    assert!(!place.path("rms_removed").exists());
    std::fs::create_dir(place.path("foreign")).unwrap();
    let weights = place.path("rms/checkpoints/step-00000012/model.safetensors");
    std::fs::copy(weights, place.path("foreign/model.safetensors")).unwrap();
    place.fails(&["remove-norm", "foreign"], 2, &["--config"]);
    std::fs::write(
        place.path("rms.toml"),
        std::fs::read_to_string(place.path("tiny.toml")).unwrap().replace("\"none\"", "\"rms_norm\""),
    )
    .unwrap();
    place.succeeds(&["remove-norm", "foreign", "--config", "rms.toml", "--steps", "12", "--out", "out"]);
    assert!((loss(&place, "out") - loss(&place, "out/norm_free")).abs() < 1e-5);
    place.fails(&["remove-norm", "out"], 3, &["removed already", "fake_rms_norm", "norm_free"]);
    // A run that was continued has a history that is not the removal's.
    place.succeeds(&["train", "--resume", "rms", "--set", "train.steps=16"]);
    place.succeeds(&["remove-norm", "rms", "--steps", "12", "--out", "extended"]);
    let config = std::fs::read_to_string(place.path("extended/config.toml")).unwrap();
    assert!(!config.contains("extended_from"), "{config}");
}

/// Stopped while norms are removed, and called again.
#[cfg(unix)]
#[test]
fn a_removal_resumes_with_the_same_bytes() {
    let place = Place::with_data();
    place.succeeds(&[&["train", "tiny.toml", "--run", "ln"], &sets(&["model.norm=layer_norm"])[..]].concat());
    let arguments =
        |out| ["remove-norm", "ln", "--steps", "400", "--out", out, "--set", "train.removal_gap_v=100"];
    place.succeeds(&arguments("whole"));
    let mut child = place.command(&arguments("halved")).spawn().unwrap();
    let log = place.path("halved/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 60 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    crate::cli::signal("TERM", &child);
    assert_eq!(child.wait().unwrap().code(), Some(130));
    place.succeeds(&arguments("halved"));
    assert_same(&place.path("whole"), &place.path("halved"));
    let folded = |run: &str| {
        std::fs::read(place.path(run).join("norm_free/checkpoints/step-00000000/model.safetensors")).unwrap()
    };
    assert!(folded("whole") == folded("halved"));
}
