//! Texts of evaluations: in the log, in the report, in tables; the same whatever interrupts the run, and without a trace in
//! its weights.

use crate::cli::{Place, assert_same, essence, sets};
use normfree::config::Config;
use normfree::device::Device;
use normfree::host::Host;
use normfree::observe::record::{Record, Sample};
use normfree::train::engine::Engine;
use std::path::Path;

const KEYS: [&str; 2] = ["observe.sample_prompt=def f_1", "observe.sample_tokens=12"];

fn samples(run: &Path) -> Vec<Sample> {
    let log = std::fs::read_to_string(run.join("metrics.jsonl")).unwrap();
    let records = log.lines().map(|line| serde_json::from_str(line).unwrap());
    records
        .filter_map(|record| if let Record::Sample(sample) = record { Some(sample) } else { None })
        .collect()
}

fn train(place: &Place, run: &str, more: &[&str]) -> String {
    place.succeeds(&[&["train", "tiny.toml", "--run", run][..], &sets(&KEYS), &sets(more)].concat())
}

#[test]
fn each_evaluation_continues_the_prompt() {
    let place = Place::with_data();
    train(&place, "r", &[]);
    let found = samples(&place.path("r"));
    assert_eq!(found.iter().map(|sample| sample.step).collect::<Vec<_>>(), [6, 12]);
    assert!(
        found.iter().all(|sample| sample.prompt == "def f_1" && (1..=12).contains(&sample.tokens)),
        "{found:?}"
    );
    // The same again, and on another number of threads.
    place.succeeds(&[&["train", "tiny.toml", "--run", "s", "--threads", "1"][..], &sets(&KEYS)].concat());
    assert_same(&place.path("r"), &place.path("s"));
    // Without a prompt the weights and all other records are the same.
    place.succeeds(&["train", "tiny.toml", "--run", "plain"]);
    let lines = |run: &str| {
        let log = std::fs::read_to_string(place.path(run).join("metrics.jsonl")).unwrap();
        log.lines().filter(|line| line.contains("\"eval\"")).map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!((samples(&place.path("plain")), lines("plain")), (vec![], lines("r")));
    let weights = |run: &str| {
        std::fs::read(place.path(run).join("checkpoints/step-00000012/model.safetensors")).unwrap()
    };
    assert_eq!(weights("r"), weights("plain"));

    // A greedy text does not depend on the seed of the draws, and `sample` gives the same.
    train(&place, "greedy", &["observe.sample_temperature=0"]);
    let last = samples(&place.path("greedy")).pop().unwrap();
    let typed = ["sample", "greedy", "--prompt", "def f_1", "--temperature", "0", "--tokens", "12", "--json"];
    let json: serde_json::Value = serde_json::from_str(&place.succeeds(&typed)).unwrap();
    assert_eq!(
        (json["text"].as_str(), json["tokens"].as_array().map(Vec::len)),
        (Some(&last.text[..]), Some(last.tokens))
    );
}

/// A run that stops at the checkpoint before an evaluation, and after one, and continues.
#[test]
fn a_resumed_run_says_the_same() {
    let place = Place::with_data();
    train(&place, "whole", &[]);
    for last in ["step-00000005", "step-00000010"] {
        let checkpoint = place.path("r/checkpoints").join(last);
        train(&place, "r", &["train.keep_checkpoints=9"]);
        for folder in std::fs::read_dir(place.path("r/checkpoints")).unwrap() {
            let folder = folder.unwrap().path();
            if folder > checkpoint {
                std::fs::remove_dir_all(folder).unwrap();
            }
        }
        place.succeeds(&["train", "--resume", "r", "--set", "train.keep_checkpoints=2"]);
        assert_same(&place.path("whole"), &place.path("r"));
        std::fs::remove_dir_all(place.path("r")).unwrap();
    }
    assert!(!essence(&place.path("whole")).is_empty());
}

#[test]
fn texts_are_shown_and_exported() {
    let place = Place::with_data();
    train(&place, "r", &["observe.sample_prompt=x < y & <b>"]);
    place.succeeds(&["report", "r"]);
    let page = std::fs::read_to_string(place.path("r/report.html")).unwrap();
    assert!(page.contains("<b>x &lt; y &amp; &lt;b&gt;</b>") && page.contains("Step 12"));
    assert!(place.succeeds(&["export", "r", "--parquet", "tables"]).contains("samples.parquet"));

    // What a run needs for it is checked before it begins.
    std::fs::remove_file(place.path("data/tokenizer.json")).unwrap();
    let typed = [&["train", "tiny.toml", "--run", "s"][..], &sets(&KEYS)].concat();
    place.fails(&typed, 4, &["observe.sample_prompt", "data/tokenizer.json"]);
    assert!(!place.path("s").exists());
    // A run that has begun has its own copy.
    place.succeeds(&["train", "--resume", "r", "--set", "observe.sample_prompt=y"]);
}

/// What a text takes is planned: the estimate is what is allocated.
#[test]
fn memory_of_texts_is_counted() {
    let config = |more: &[&str]| {
        let text = include_str!("../configs/demo/sm_r.toml");
        Config::parse(text, "sm_r.toml", &more.iter().map(|key| (*key).to_owned()).collect::<Vec<_>>())
            .unwrap()
    };
    let total = |config: &Config| {
        let engine = Engine::new(Device::from(Host::open(1).unwrap()), config).unwrap();
        let demand = engine.blueprint.demand(engine.device.traits()).total();
        (engine.bytes(), demand)
    };
    let (plain, with) = (total(&config(&[])), total(&config(&KEYS)));
    assert!(with.0 > plain.0);
    assert_eq!(with.0 - plain.0, with.1 - plain.1);
}
