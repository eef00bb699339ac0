//! The units of feed-forward networks: their spectra over training, and how many a model can do without.

use crate::cli::Place;
use crate::support::seed;
use crate::training::config;
use normfree::config::Precision;
use normfree::model::{Pass, names, parameters, record};
use normfree::ops::cross_entropy::Logits;
use normfree::reference::Memory;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde_json::Value;
use std::fs;

/// Moments are sums over the tokens of what stands before and after the activation, whichever network it is.
#[test]
fn moments_are_those_of_the_units() {
    const TOKENS: usize = 9;
    let mut random = ChaCha8Rng::seed_from_u64(seed());
    for changes in
        [&["model.activation_function=relu"][..], &["model.activation_function=silu", "model.ffn=gated"]]
    {
        let config = config(changes);
        let pass = Pass {
            batch: 1,
            sequence: TOKENS,
            micro_batches: 1,
            accumulation: config.train.accumulation,
            training: false,
            entropy: false,
            layers: false,
            spectrum: true,
            truncated: true,
            logits: Logits { piece_bytes: 1 << 20, kept_bytes: 0 },
            recompute: config.train.recompute,
            precision: Precision::F32,
        };
        let tape = record(&config.model, &pass).tape;
        let mut memory = Memory::new(&tape);
        let mut normal = || -> f64 { StandardNormal.sample(&mut random) };
        for parameter in parameters(&config.model, false, Precision::F32) {
            let values: Vec<f64> = (0..parameter.elements()).map(|_| 0.3 * normal()).collect();
            memory.set(&tape, tape.find(&parameter.name).unwrap(), &values);
        }
        let units = config.model.units();
        for layer in 0..config.model.n_layer {
            memory.set(&tape, tape.find(&names::unit_lengths(layer)).unwrap(), &vec![1.0; units]);
            memory.set(&tape, tape.find(&names::unit_bound(layer)).unwrap(), &[0.0]);
        }
        let tokens: Vec<f64> = (0..TOKENS).map(|i| (i * i * 7 % 97) as f64).collect();
        memory.set(&tape, tape.find(names::TOKENS).unwrap(), &tokens);
        memory.set(&tape, tape.find(names::TARGETS).unwrap(), &tokens);
        memory.set(&tape, tape.find(names::TARGET_WEIGHT).unwrap(), &[1.0 / TOKENS as f64]);
        memory.run(&tape);
        for layer in 0..config.model.n_layer {
            let of = |name: String| memory.get(&tape, tape.find(&name).unwrap()).to_vec();
            let kept = of(names::units(layer));
            assert_eq!(kept.len(), TOKENS * units);
            let (sums, moments) = (of(names::sums("after", layer)), of(names::moments("after", layer)));
            let near = |got: f64, want: f64| {
                assert!((got - want).abs() < 1e-12 * want.abs().max(1.0), "{got}, not {want}")
            };
            for i in 0..units {
                near(sums[i], kept.iter().skip(i).step_by(units).sum());
                for j in [0, i, units - 1] {
                    near(moments[i * units + j], kept.chunks(units).map(|token| token[i] * token[j]).sum());
                }
            }
            // ReLU's units are those before it, where they are positive: so the traces say which side is which.
            if changes.len() == 1 {
                let before = of(names::moments("before", layer));
                let trace = |moments: &[f64]| (0..units).map(|i| moments[i * units + i]).sum::<f64>();
                assert!(trace(&before) > 1.2 * trace(&moments), "{} {}", trace(&before), trace(&moments));
            }
        }
    }
}

/// The records of a run's spectra.
fn spectra(place: &Place, run: &str) -> Vec<Value> {
    let log = fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    records.filter(|record| record["kind"] == "spectrum").collect()
}

#[test]
fn spectra_are_logged_at_each_evaluation_on_every_device() {
    let place = Place::with_data();
    let train = |place: &Place, run: &str, more: &[&str]| {
        let shared = ["train", "tiny.toml", "--run", run, "--set", "observe.spectrum=true"];
        place.succeeds(&[&shared[..], more].concat());
    };
    train(&place, "r", &[]);
    let records = spectra(&place, "r");
    let steps: Vec<_> = records.iter().map(|record| record["step"].as_u64().unwrap()).collect();
    assert_eq!(steps, [6, 12]);
    let numbers = |record: &Value, name: &str| -> Vec<f64> {
        record[name]
            .as_array()
            .unwrap_or_else(|| panic!("{name} in {record}"))
            .iter()
            .map(|v| v.as_f64().unwrap())
            .collect()
    };
    let measures = [
        ("pre_entropy", 0.0, 64_f64.ln()),
        ("post_entropy", 0.0, 64_f64.ln()),
        ("pre_participation", 1.0, 64.0),
        ("post_participation", 1.0, 64.0),
        ("pre_enrichment", 0.0, 1.0),
        ("post_enrichment", 0.0, 1.0),
        ("divergence", 0.0, 2_f64.ln()),
    ];
    for record in &records {
        for (name, least, most) in measures {
            let layers = numbers(record, name);
            assert_eq!(layers.len(), 2);
            assert!(layers.iter().all(|&value| value > least && value < most), "{name}: {layers:?}");
        }
    }
    // 16 inputs span at most 16 directions; a network that bends has more.
    let last = &records[1];
    assert!(numbers(last, "pre_participation")[0] <= 16.0);
    assert!(numbers(last, "post_entropy")[0] > numbers(last, "pre_entropy")[0]);

    // The same from a driver's kernels, and nothing else of the run is different for it.
    let place = place.on_driver();
    train(&place, "s", &[]);
    let others = spectra(&place, "s");
    for (one, other) in records.iter().zip(&others) {
        for (name, ..) in measures {
            for (a, b) in numbers(one, name).into_iter().zip(numbers(other, name)) {
                assert!((a - b).abs() < 2e-3 * a.abs().max(0.1), "{name}: {a} and {b}");
            }
        }
    }
    place.succeeds(&["train", "tiny.toml", "--run", "t"]);
    let weights =
        |run: &str| fs::read(place.path(run).join("checkpoints/step-00000012/model.safetensors")).unwrap();
    assert!(weights("s") == weights("t"), "measuring spectra changed the weights");

    // Where there is no whole batch of held-out text, or nothing with units, there is no record.
    train(
        &place,
        "u",
        &["--set", "model.ffn=fused", "--set", "model.activation_function=none", "--set", "train.steps=6"],
    );
    assert!(spectra(&place, "u").is_empty());
    place.succeeds(&["report", "r", "-o", "report.html"]);
    place.succeeds(&["plot", "r", "--out", "figures"]);
    assert!(place.path("figures/post_participation.svg").exists());
    place.succeeds(&["export", "r", "--parquet", "tables"]);
    assert!(place.path("tables/spectrum.parquet").exists());
}

#[test]
fn units_are_left_out_as_far_as_is_allowed() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.learning_rate=1e-2"]);
    let measure = |more: &[&str]| -> Value {
        serde_json::from_str(&place.succeeds(&[&["sparsity", "r", "--json"], more].concat())).unwrap()
    };
    let number =
        |found: &Value, name: &str| found[name].as_f64().unwrap_or_else(|| panic!("{name} in {found}"));
    let eval: Value = serde_json::from_str(&place.succeeds(&["eval", "r", "--json"])).unwrap();
    let one = measure(&[]);
    assert!((number(&one, "loss") - number(&eval, "loss")).abs() < 1e-6, "{one} and {eval}");
    assert!(number(&one, "truncated_loss") <= number(&one, "loss") + 1.01_f64.ln(), "{one}");
    let layers = one["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 2);
    for layer in layers {
        // ReLU.
        let zeros = number(layer, "zeros");
        assert!(zeros > 0.2 && zeros < 0.8 && number(layer, "sparsity") > zeros, "{one}");
    }
    let more = measure(&["--increase", "0.2"]);
    assert!(number(&more, "sparsity") >= number(&one, "sparsity"), "{more} and {one}");
    let cett = measure(&["--cett", "0.2"]);
    assert_eq!(number(&cett, "cett"), 0.2);
    let less = measure(&["--cett", "0.05"]);
    assert!(number(&less, "sparsity") < number(&cett, "sparsity"), "{less} and {cett}");
    let told = place.succeeds(&["sparsity", "r"]);
    assert!(told.contains("of the units can be left out") && told.lines().count() == 4, "{told}");

    // The same from a driver's kernels: a unit near the bound may go either way.
    let place = place.on_driver();
    let other: Value =
        serde_json::from_str(&place.succeeds(&["sparsity", "r", "--json", "--cett", "0.2"])).unwrap();
    assert!((number(&other, "sparsity") - number(&cett, "sparsity")).abs() < 2e-3, "{other} and {cett}");
    assert!(
        (number(&other, "truncated_loss") - number(&cett, "truncated_loss")).abs() < 1e-3,
        "{other} and {cett}"
    );

    place.fails(&["sparsity", "r", "--increase", "0"], 2, &["--increase", "above zero"]);
    place.succeeds(&[
        "train",
        "tiny.toml",
        "--run",
        "f",
        "--set",
        "model.ffn=fused",
        "--set",
        "model.activation_function=none",
    ]);
    place.fails(&["sparsity", "f"], 3, &["no units", "model.ffn"]);
}
