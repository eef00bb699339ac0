//! Models with every norm, trained.

use crate::cli::{Place, assert_same, sets};
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

#[test]
fn norms_in_other_places_agree_with_f64() {
    let derf = ["model.norm=derf", "model.embedding_scale=true", "model.final_norm=rms_norm"];
    agrees(&derf);
    agrees(&[
        "model.attention_norm=dyt",
        "model.ffn_norm=none",
        "model.norm_layers=1",
        "model.final_norm=crms_norm",
    ]);
    agrees(&["model.norm=rms_norm", "model.norm_position=both"]);
    agrees(&["model.norm=bhyt", "model.norm_position=post", "train.recompute=block"]);
    agrees(&["model.norm_position=post", "model.final_norm=false", "train.recompute=ffn"]);
}

/// While the gate of a tapered norm falls, and with blocks that are recomputed.
#[test]
fn a_taper_agrees_with_f64() {
    let taper = ["model.norm=taper_norm", "train.steps=12", "train.taper_start=0.3", "train.taper_end=0.7"];
    agrees(&taper);
    agrees(&[&taper[..], &["train.recompute=block", "model.family=gpt_neox"]].concat());
}

/// The loss that holds the scale, while its target follows the rows and afterwards.
#[test]
fn a_held_scale_agrees_with_f64() {
    let held = ["model.scale_loss=0.5", "train.steps=12", "train.taper_start=0.3", "train.taper_end=0.7"];
    agrees(&[&held[..], &["model.norm=taper_norm", "model.final_norm=taper_norm"]].concat());
    agrees(&[&held[..], &["model.norm=none", "model.final_norm=false", "train.recompute=block"]].concat());
    agrees(&[&held[..], &["train.gradient_accumulation_steps=1", "model.family=gpt_neox"]].concat());
}

/// Without a norm before the head, the loss keeps the residual stream at the scale that it had when its target stopped.
#[test]
fn the_scale_is_held_where_its_target_stops() {
    let place = Place::with_data();
    let run = |name: &str, weight: &str| -> (f64, Vec<Value>, Vec<Value>) {
        let keys = ["model.norm=none", "model.final_norm=false", "train.steps=60", "train.taper_start=0.25"];
        let more = ["train.learning_rate=3e-2", "observe.slopes_every=1", weight];
        place.succeeds(
            &[&["train", "tiny.toml", "--run", name], &sets(&[&keys[..], &more].concat())[..]].concat(),
        );
        let layers = records(&place, name, "layers");
        let scale = layers.last().unwrap()["residual_rms"][1].as_f64().unwrap();
        (scale, records(&place, name, "norm_scales"), records(&place, name, "step"))
    };
    let (held, scales, steps) = run("held", "model.scale_loss=10");
    let targets: Vec<f64> = scales.iter().map(|record| record["scale_target"].as_f64().unwrap()).collect();
    // The first 15 of 60 steps move the target; from then on there is a loss.
    assert!(
        targets[13] != targets[14] && targets[15..].iter().all(|target| *target == targets[14]),
        "{targets:?}"
    );
    let losses: Vec<f64> = steps.iter().map(|record| record["scale_loss"].as_f64().unwrap()).collect();
    assert!(
        losses[..15].iter().all(|loss| *loss == 0.0) && losses[15..].iter().all(|loss| *loss > 0.0),
        "{losses:?}"
    );
    let target = targets[14];
    assert!((held - target).abs() < 0.1 * target, "{held}, not {target}");
    let (free, none, _) = run("free", "model.scale_loss=0");
    assert!(free > 1.5 * target && none.is_empty(), "{free} beside {target}");
    // What is exported has neither the loss nor its state.
    place.succeeds(&["export", "held", "--hf", "held_hf"]);
    let described = std::fs::read_to_string(place.path("held_hf/config.json")).unwrap();
    assert!(described.contains("\"scale_loss\": 0.0"), "{described}");
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

/// A tapered run that is stopped while its scales are running, and resumed, ends with the same bytes.
#[cfg(unix)]
#[test]
fn a_taper_resumes_with_the_same_bytes() {
    let place = Place::with_data();
    let keys = ["model.norm=taper_norm", "train.steps=400", "train.taper_start=0.9", "train.taper_end=1"];
    let arguments = |run| [&["train", "tiny.toml", "--run", run][..], &sets(&keys)].concat();
    place.succeeds(&arguments("whole"));
    let mut child = place.command(&arguments("halved")).spawn().unwrap();
    let log = place.path("halved/metrics.jsonl");
    while std::fs::read_to_string(&log).map_or(0, |text| text.lines().count()) < 20 {
        assert!(child.try_wait().unwrap().is_none(), "the run ended before it could be stopped");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    crate::cli::signal("TERM", &child);
    child.wait().unwrap();
    place.succeeds(&["train", "--resume", "--run", "halved"]);
    assert_same(&place.path("whole"), &place.path("halved"));
    let scales = records(&place, "whole", "norm_scales");
    let scale = &scales.last().unwrap()["attention_norm_scale"][0];
    assert!(scale.as_f64().unwrap() > 1.5, "rows of this model are small: {scale}");
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
