//! What a user sees before the first step: nothing is compiled or timed for a command that cannot succeed, and anything that
//! takes long says what it is doing.

use super::{MODEL, Place, refused, sets, shown};
use std::fs;
use std::time::Instant;

/// Whether kernels were timed against each other: results are saved at once.
fn timed(place: &Place) -> bool {
    let Ok(kept) = fs::read_dir(place.path("cache")) else { return false };
    kept.map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .any(|name| name.starts_with("kernels-"))
}

#[test]
fn hopeless_runs_are_refused_before_anything_is_timed() {
    let place = Place::with_data().on_driver();
    fs::write(place.path("junk"), "no weights").unwrap();
    let train = |set: &str, code: i32, part: &str| {
        let typed = ["train", "tiny.toml", "--run", "r", "--retune", "--set", set];
        place.fails(&typed, code, &[part]);
        assert!(!timed(&place), "{set}: kernels were timed before");
        assert!(!place.path("r").exists(), "{set} left a folder");
    };
    train("data.path=nowhere", 4, "nowhere");
    train("model.vocab_size=1000", 4, "set model.vocab_size = 300");
    train("train.init_from=nowhere", 9, "nowhere");
    train("train.init_from=junk", 5, "junk");
    place.fails(&["train", "tiny.toml", "--run", "junk/r", "--retune"], 9, &["junk/r"]);
    place.fails(
        &["bench", "tiny.toml", "--retune", "--picture", "nowhere/roof.svg"],
        9,
        &["nowhere/roof.svg"],
    );
    fs::create_dir(place.path("roof.svg")).unwrap();
    place.fails(&["bench", "tiny.toml", "--retune", "--picture", "roof.svg"], 9, &["roof.svg"]);
    place.fails(&["bench", "nowhere.toml", "--retune"], 9, &["nowhere.toml"]);
    place.fails(&["demo", "--data", "nowhere", "--out", "demo"], 4, &["nowhere"]);
    let picture = ["train", "tiny.toml", "--dry-run", "--memory-picture", "nowhere/plan.svg"];
    place.fails(&picture, 9, &["nowhere/plan.svg"]);
    assert!(!timed(&place));
}

/// The weights of the second configuration are missing: this is reported before the first is trained.
#[test]
fn a_study_checks_all_its_weights_before_its_first_run() {
    let place = Place::with_data();
    let configurations = "\n[study]\nname = \"s\"\nout = \"s\"\nbaseline = \"fresh\"\nseeds = [1]\n\
        [[configuration]]\nname = \"fresh\"\n\
        [[configuration]]\nname = \"started\"\nlabel = \"Started\"\ntrain.init_from = \"nowhere.safetensors\"\n";
    fs::write(place.path("study.toml"), MODEL.to_owned() + configurations).unwrap();
    place.fails(&["study", "study.toml"], 9, &["nowhere.safetensors"]);
    assert!(!place.path("s/fresh-seed1").exists() && !place.path("s/fresh").exists(), "a run was begun");
}

/// A search of a second or more shows its progress and what is left; so does compiling, if no driver caches the results.
#[test]
fn slow_work_says_what_it_is() {
    let place = Place::with_data().on_driver();
    // Of this width, the feed-forward network's products have the shapes of attention's projection: fewer to search.
    let keys = sets(&["train.steps=1", "train.eval_chunks=1", "model.n_inner=16"]);
    let mut command = place.command(&[&["train", "tiny.toml", "--run", "r", "--retune"], &keys[..]].concat());
    let start = Instant::now();
    let output = command.env("MESA_SHADER_CACHE_DISABLE", "true").output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let told = String::from_utf8(output.stderr.clone()).unwrap();
    let searching = told.lines().filter(|line| line.starts_with("note: timing kernels: shape ")).count();
    let seconds = start.elapsed().as_secs();
    println!("{seconds} s: {told}");
    assert!(searching > 0, "{}", shown(&output));
    if seconds > 30 {
        assert!(told.contains(" left\n"), "{}", shown(&output));
    }
    // Only results and errors.
    let typed = [&["train", "tiny.toml", "--run", "q", "--retune", "--quiet"], &keys[..]].concat();
    let output = place.command(&typed).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", shown(&output));
    refused(&place.command(&["train", "tiny.toml", "--run", "q", "--quiet"]).output().unwrap(), 6, &["q"]);
}
