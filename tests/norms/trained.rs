//! Models with every norm, trained.

use crate::cli::{Place, sets};
use crate::training::agrees;
use normfree::config::Norm;
use serde_json::Value;

/// Loss, gradients and weights of ten steps with every norm besides LayerNorm and none, which have tests of their own.
#[test]
fn every_norm_agrees_with_f64() {
    for norm in Norm::all().filter(|norm| ![Norm::LAYER_NORM, Norm::NONE].contains(norm)) {
        agrees(&[&format!("model.norm={norm}"), "model.activation_function=gelu"]);
    }
}

#[test]
fn norms_in_parallel_blocks_and_recomputed_agree_with_f64() {
    for norm in ["rms_norm", "derf"] {
        let norm = format!("model.norm={norm}");
        agrees(&["model.family=gpt_neox", &norm]);
        agrees(&["train.recompute=block", "model.bias=all", &norm]);
    }
}

/// The records of a kind in a run's log.
fn records(place: &Place, run: &str, kind: &str) -> Vec<Value> {
    let log = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["kind"] == kind).collect()
}

/// A run by the program, with what it says of α, s, γ and saturation.
#[test]
fn the_log_tells_what_bounded_norms_learn() {
    let place = Place::with_data();
    let keys = sets(&[
        "model.norm=derf",
        "model.alpha_init=0.75",
        "model.attention_alpha_init=2",
        "observe.slopes_every=1",
    ]);
    place.succeeds(&[&["train", "tiny.toml", "--run", "derf"], &keys[..]].concat());
    let scales = records(&place, "derf", "norm_scales");
    // The first step has rate 0.
    let near = |value: &Value, start: f64| (value.as_f64().unwrap() - start).abs();
    assert_eq!(near(&scales[0]["attention_norm_alpha"][1], 2.0), 0.0, "{}", scales[0]);
    assert_eq!(near(&scales[0]["ffn_norm_alpha"][0], 0.75), 0.0, "{}", scales[0]);
    assert_eq!(near(&scales[0]["final_norm_alpha"], 0.75), 0.0, "{}", scales[0]);
    let last = scales.last().unwrap();
    let moved = [
        near(&last["attention_norm_alpha"][0], 2.0),
        near(&last["ffn_norm_shift"][1], 0.0),
        near(&last["final_norm_shift"], 0.0),
        near(&last["final_norm_alpha"], 0.75),
    ];
    assert!(moved.iter().all(|&by| by > 0.0 && by < 0.1), "{last}");
    let norms = records(&place, "derf", "norms");
    assert!(norms.len() >= 2, "{norms:?}");
    for record in &norms {
        for site in ["attention_norm", "ffn_norm", "final_norm"] {
            let shares = ["above_0_5", "above_1", "above_2", "above_3"].map(|share| {
                let share = &record[format!("{site}_{share}")];
                if site == "final_norm" { share.as_f64() } else { share[1].as_f64() }.unwrap()
            });
            assert!(shares.is_sorted_by(|a, b| a >= b), "{site}: {shares:?}");
            assert!((0.0..=1.0).contains(&shares[0]), "{site}: {shares:?}");
        }
        assert!(near(&record["final_norm_gain"], 1.0) < 0.1, "{record}");
    }
    // Models without them have no such records.
    place.succeeds(&["train", "tiny.toml", "--run", "bare"]);
    assert!(records(&place, "bare", "norms").is_empty() && records(&place, "bare", "norm_scales").is_empty());
    place.succeeds(&["report", "derf", "bare", "--out", "report.html"]);
    let report = std::fs::read_to_string(place.path("report.html")).unwrap();
    assert!(
        report.contains("SM+Derf+R") && report.contains("Learned α of the bounded norm before attention")
    );
}

#[test]
fn words_that_do_not_exist_are_refused() {
    let place = Place::with_data();
    let fails = |key: &str, parts: &[&str]| {
        place.fails(&[&["train", "tiny.toml", "--run", "no"], &sets(&[key])[..]].concat(), 3, parts);
    };
    fails("model.norm=rmsnorm", &["model.norm", "did you mean \"rms_norm\"?"]);
    fails("model.norm_function=softsign", &["model.norm_function", "\"smoothsign\""]);
    fails("model.alpha_init=0", &["model.alpha_init", "greater than 0"]);
}
