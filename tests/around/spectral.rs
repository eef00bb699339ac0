//! σReparam: models against f64, the singular values against an SVD, and what the program makes of a trained model.

use super::muon::jacobi;
use super::{MIXED, NO_NORM};
use crate::cli::Place;
use crate::mixed::SMOOTH;
use crate::support::seed;
use crate::training::{agrees_within, batches, config, has_f16, within_f32};
use normfree::config::Config;
use normfree::device::Device;
use normfree::host::Host;
use normfree::observe::quantities::{FFN_OUT_SIGMA, QUERY_GAMMA, QUERY_SIGMA};
use normfree::train::engine::Engine;
use normfree::train::loader::fresh_weights;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

const SCALED: &str = "model.weight_norm=sigma_reparam";

#[test]
fn models_agree_with_f64() {
    within_f32(&[SCALED]);
    within_f32(&[SCALED, NO_NORM, "model.bias=all", "train.gradient_accumulation_steps=1"]);
    within_f32(&[SCALED, "model.family=gpt_neox", "train.recompute=block", "model.gamma_init=0.7"]);
    within_f32(&[SCALED, "model.attention_gate=head", "train.recompute=ffn", "model.residual=skip_init"]);
    within_f32(&[SCALED, "model.ffn=gated", "model.activation_function=silu", "model.norm=bhyt"]);
    within_f32(&[SCALED, "train.optimizer=muon", "train.project_weights=true"]);
    within_f32(&[
        SCALED,
        "model.family=llama",
        "model.ffn=gated",
        "model.activation_function=silu",
        "model.n_kv_head=1",
    ]);
}

#[test]
fn mixed_precision_agrees_with_f64() {
    if has_f16(&config(&[MIXED])) {
        agrees_within(&[MIXED, SCALED], &SMOOTH);
        agrees_within(&[MIXED, SCALED, NO_NORM, "train.recompute=block"], &SMOOTH);
    }
}

/// σ = ‖uᵀW‖ of a parameter's vector, and the largest singular value of W by one-sided Jacobi, for each matrix of each vector.
fn singular_values(engine: &Engine) -> Vec<(String, f64, f64)> {
    let parameters = engine.blueprint.arenas.parameters();
    let read = |name: &str| -> Vec<f64> {
        let parameter = parameters.iter().find(|p| p.name == name).unwrap();
        let values: Vec<f32> = engine.store.read(&engine.device, name, parameter.elements()).unwrap();
        values.into_iter().map(f64::from).collect()
    };
    let mut found = Vec::new();
    for vector in parameters {
        let Some(matrix) = &vector.declared.singular_of else { continue };
        let (w, u) = (read(matrix), read(&vector.name));
        let [parts, rows] = vector.shape[..] else { panic!("{:?}", vector.shape) };
        let (columns, width) = (w.len() / rows, w.len() / rows / parts);
        for part in 0..parts {
            let at = |row: usize, column: usize| w[row * columns + part * width + column];
            let sum =
                |column: usize| (0..rows).map(|row| u[part * rows + row] * at(row, column)).sum::<f64>();
            let sigma = (0..width).map(|column| sum(column).powi(2)).sum::<f64>().sqrt();
            // Of the tall side, of which every column has a singular value.
            let (long, short) = (rows.max(width), rows.min(width));
            let turned = |i: usize, j: usize| if rows >= width { at(i, j) } else { at(j, i) };
            let mut a: Vec<Vec<f64>> =
                (0..long).map(|i| (0..short).map(|j| turned(i, j)).collect()).collect();
            let (_, norms) = jacobi(&mut a);
            found.push((format!("{matrix} {part}"), sigma, norms.into_iter().fold(0.0, f64::max)));
        }
    }
    found
}

/// Before the first step, and after each of some: one power iteration a step follows matrices that change by a per cent.
#[test]
fn singular_values_are_those_of_an_svd() {
    for device in [crate::support::gpu(), Device::from(Host::open(2).unwrap())] {
        let config = config(&[SCALED, "model.n_embd=32", "model.n_inner=48", "observe.sample_every=1"]);
        let mut engine = Engine::new(device, &config).unwrap();
        fresh_weights(&engine, &config).unwrap();
        let mut random = ChaCha8Rng::seed_from_u64(seed());
        for step in 0..12 {
            let found = singular_values(&engine);
            assert_eq!(found.len(), config.model.n_layer * 6);
            for (matrix, sigma, want) in &found {
                // From below, within the rounding of f32. A step moves elements of 0.1 by 1e-3, and after a turn of the leading vector by
                // θ an estimate is off by θ², times what the iteration leaves of it.
                let off = 1.0 - sigma / want;
                assert!((-1e-5..0.02).contains(&off), "step {step}, {matrix}: {sigma}, not {want}");
            }
            engine.submit(step, step, 1e-3, &batches(&config, &mut random)).unwrap();
            let reading = engine.take(true).unwrap().unwrap();
            // The step read the matrices as they were before it.
            let [query, last] = [&QUERY_SIGMA, &FFN_OUT_SIGMA].map(|of| reading.values.layers(of).to_vec());
            for (layer, (query, last)) in query.into_iter().zip(last).enumerate() {
                for (got, of) in [(query, layer * 6), (last, layer * 6 + 5)] {
                    let want = found[of].1;
                    assert!(
                        (f64::from(got) - want).abs() < 1e-5 * want,
                        "{got} is logged for {:?}",
                        found[of]
                    );
                }
            }
            let gains = reading.values.layers(&QUERY_GAMMA);
            assert!(gains.iter().all(|&gain| (gain == 1.0) == (step == 0)), "step {step}: {gains:?}");
        }
    }
}

fn refused(changes: &[&str]) -> String {
    let text = config(&[]).to_toml();
    let changes: Vec<String> = changes.iter().map(|&change| change.to_owned()).collect();
    Config::parse(&text, "test", &changes).unwrap_err().to_string()
}

#[test]
fn matrices_that_start_at_zero_are_refused() {
    let message = refused(&[SCALED, "model.residual=fixup", NO_NORM]);
    assert!(message.contains("starts at zero") && message.contains("model.weight_norm"), "{message}");
}

/// Both have the same numbers, within what two roundings of the matrices change; names of files may differ.
fn near(one: &Value, other: &Value) {
    match (one, other) {
        (Value::Array(one), Value::Array(other)) => {
            assert_eq!(one.len(), other.len());
            one.iter().zip(other).for_each(|(one, other)| near(one, other));
        }
        (Value::Object(one), Value::Object(other)) => {
            one.iter().for_each(|(key, one)| near(one, &other[key]))
        }
        (Value::Number(one), Value::Number(other)) => {
            let (one, other) = (one.as_f64().unwrap(), other.as_f64().unwrap());
            assert!((one - other).abs() < 1e-4 * one.abs().max(1.0), "{one} and {other}");
        }
        _ => {}
    }
}

/// A run that is stopped and resumed ends with the same bytes; evaluation, text and what heads read are those of the exported model,
/// which has plain matrices.
#[cfg(unix)]
#[test]
fn trained_models_are_resumed_read_and_exported() {
    let place = Place::with_data();
    let keys = [SCALED, "model.norm=layer_norm", "model.activation_function=gelu_new", "train.steps=300"];
    let keys = [&keys[..], &["model.bias=all", "train.learning_rate=1e-2"]].concat();
    super::stopped_and_resumed(&place, &keys);
    let lines = std::fs::read_to_string(place.path("whole/metrics.jsonl")).unwrap();
    let norms: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .filter(|line| line["kind"] == "weight_norms")
        .collect();
    assert_eq!(norms[0]["query_gamma"], serde_json::json!([1.0, 1.0]), "{}", norms[0]);
    assert!(norms.last().unwrap()["ffn_out_sigma"][1].as_f64().unwrap() > 0.0);

    place.succeeds(&["export", "whole", "--hf", "plain"]);
    let described: Value =
        serde_json::from_slice(&std::fs::read(place.path("plain/config.json")).unwrap()).unwrap();
    assert_eq!(described["architectures"], serde_json::json!(["GPT2LMHeadModel"]));
    let card = std::fs::read_to_string(place.path("plain/README.md")).unwrap();
    assert!(card.contains("σReparam") && card.contains("weight_norm = \"sigma_reparam\""), "{card}");
    let loss = |path: &str, more: &[&str]| {
        let eval = [&["eval", path, "--chunks", "0", "--json"][..], more].concat();
        serde_json::from_str::<Value>(&place.succeeds(&eval)).unwrap()["loss"].as_f64().unwrap()
    };
    let (own, plain) = (loss("whole", &[]), loss("plain", &["--data", "data"]));
    // f32 on both sides, by other roundings of each matrix: a few thousand of 6e-8, of both signs.
    assert!((own - plain).abs() < 1e-6 * own, "{own} and {plain}");
    let text = |path: &str| {
        place.succeeds(&["sample", path, "--prompt", "fn", "--tokens", "8", "--temperature", "0"])
    };
    assert_eq!(text("whole"), text("plain"));
    let read = |path: &str| -> Value {
        let json = place.succeeds(&["attend", path, "--prompt", "def f_1(x):", "--json"]);
        serde_json::from_str(&json).unwrap()
    };
    near(&read("whole"), &read("plain"));
    place.fails(&["remove-norm", "whole"], 3, &["weight_norm", "normfree export RUN --hf DIR"]);
}
