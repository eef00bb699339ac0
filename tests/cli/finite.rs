//! Numbers that are not finite are never a success, and steps without a target are reported.

use super::{Place, refused, sets, shown};
use std::fs;
use std::path::Path;

/// Breaks within a few steps.
const BREAKS: [&str; 2] = ["train.learning_rate=1e15", "train.max_grad_norm=0"];

fn train(run: &str, more: &[&str]) -> Vec<String> {
    let keys = [&BREAKS[..], more].concat();
    let all = [&["train", "tiny.toml", "--run", run][..], &sets(&keys)].concat();
    all.into_iter().map(str::to_owned).collect()
}

fn output(place: &Place, arguments: &[String]) -> std::process::Output {
    place.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).output().unwrap()
}

/// Whether a weight file has only finite numbers. (Its header is text, which is also finite when read as numbers.)
fn all_finite(weights: &Path) -> bool {
    let bytes = fs::read(weights).unwrap();
    bytes.chunks_exact(4).all(|v| f32::from_le_bytes([v[0], v[1], v[2], v[3]]).is_finite())
}

#[test]
fn weights_that_are_not_finite_evaluate_sample_and_start_nothing() {
    let place = Place::with_data();
    let recorded = output(&place, &train("r", &["train.on_nonfinite=record"]));
    assert!(recorded.status.success(), "{}", shown(&recorded));
    let weights = place.path("r/checkpoints/step-00000012/model.safetensors");
    assert!(!all_finite(&weights));

    let evaluated = place.command(&["eval", "r"]).output().unwrap();
    refused(&evaluated, 10, &["not finite", "r/checkpoints/step-00000012", "an earlier checkpoint"]);
    let evaluated = place.command(&["eval", "r", "--json"]).output().unwrap();
    refused(&evaluated, 10, &["not finite"]);
    let said: serde_json::Value = serde_json::from_slice(&evaluated.stdout).unwrap();
    assert_eq!(said["loss"], "nan", "the number is printed all the same: {said}");

    for more in [&["--prompt", "def"][..], &["--prompt", "def", "--json"], &["--tokens", "1"]] {
        place.fails(&[&["sample", "r"], more].concat(), 10, &["not finite", "logit"]);
    }

    let from = format!("train.init_from={}", weights.display());
    let start = ["train", "tiny.toml", "--run", "new", "--set", &from];
    let parts =
        ["a run cannot start from weights that are not finite", "model.safetensors", "train.init_from"];
    place.fails(&start, 10, &parts);
    assert!(!place.path("new").exists(), "a folder is left");
    place.fails(&[&start[..], &["--dry-run"]].concat(), 10, &parts);
    // A folder that holds weights is accepted as well.
    let folder = weights.parent().unwrap().display().to_string();
    let from = format!("train.init_from={folder}");
    place.fails(&["train", "tiny.toml", "--dry-run", "--set", &from], 10, &parts);
}

/// A dry run refuses what a run would.
#[test]
fn a_dry_run_opens_the_weights_to_start_from() {
    let place = Place::with_data();
    let dry = ["train", "tiny.toml", "--dry-run", "--set"];
    place.fails(&[&dry[..], &["train.init_from=nowhere.safetensors"]].concat(), 9, &["nowhere.safetensors"]);
    fs::write(place.path("cut.safetensors"), [9, 0, 0, 0, 0, 0, 0, 0, b'{']).unwrap();
    place.fails(&[&dry[..], &["train.init_from=cut.safetensors"]].concat(), 5, &["cut.safetensors"]);
    place.succeeds(&["train", "tiny.toml", "--run", "r"]);
    place.succeeds(&[&dry[..], &["train.init_from=r/checkpoints/step-00000012"]].concat());
    let wider = ["train.init_from=r/checkpoints/step-00000012", "--set", "model.n_embd=32"];
    place.fails(&[&dry[..], &wider].concat(), 5, &["n_embd = 16 there, 32 here"]);
}

#[test]
fn recording_keeps_the_last_finite_checkpoint() {
    let place = Place::with_data();
    let keys = ["train.on_nonfinite=record", "train.checkpoint_every=1", "train.keep_checkpoints=2"];
    let recorded = output(&place, &train("r", &keys));
    assert!(recorded.status.success(), "{}", shown(&recorded));
    let finite = |step: &str| {
        let state = fs::read_to_string(place.path("r/checkpoints").join(step).join("trainer_state.json"));
        let state: serde_json::Value = serde_json::from_str(&state.unwrap()).unwrap();
        state["finite"].as_bool().unwrap()
    };
    let kept = || {
        let entries = fs::read_dir(place.path("r/checkpoints")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    };
    let names = kept();
    assert_eq!(names.len(), 3, "{names:?}");
    assert_eq!(names[1..], ["step-00000011", "step-00000012"]);
    assert_eq!(names.iter().map(|name| finite(name)).collect::<Vec<_>>(), [true, false, false], "{names:?}");
    let told = String::from_utf8_lossy(&recorded.stderr).into_owned();
    let step: u64 = names[0]["step-".len()..].parse().unwrap();
    assert!(told.contains(&format!("the checkpoint of step {step} is the last before that")), "{told}");
    let breaks = |name: &String| {
        let path = place.path("r/checkpoints").join(name).join("model.safetensors");
        !all_finite(&path)
    };
    assert_eq!(names.iter().map(breaks).collect::<Vec<_>>(), [false, true, true], "{names:?}");
    // Opening the finished run again changes nothing.
    place.succeeds(&["train", "--resume", "--run", "r"]);
    assert_eq!(kept(), names);
}

#[test]
fn many_skipped_steps_in_a_row_are_reported() {
    let place = Place::with_data();
    let keys =
        ["train.on_nonfinite=skip", "train.steps=60", "train.eval_every=60", "train.checkpoint_every=60"];
    let skipping = output(&place, &train("r", &keys));
    let told = String::from_utf8_lossy(&skipping.stderr).into_owned();
    for count in ["20 steps in a row were skipped", "40 steps in a row were skipped"] {
        assert_eq!(told.matches(count).count(), 1, "{count}: {told}");
    }
    assert!(!told.contains("30 steps in a row"), "{told}");
    // Nothing was trained, and the last evaluation is not finite: that is no success.
    refused(&skipping, 10, &["the last evaluation is not finite", "learning_rate"]);
    assert!(place.path("r/checkpoints/step-00000060").is_dir());
}

#[test]
fn steps_without_a_target_have_no_loss() {
    let place = Place::with_data();
    let meta: serde_json::Value =
        serde_json::from_slice(&fs::read(place.path("data/meta.json")).unwrap()).unwrap();
    let end = meta["end_of_text"].as_u64().unwrap() as u16;
    let empty = |name: &str| {
        let path = place.path("data").join(name);
        let tokens = fs::metadata(&path).unwrap().len() / 2;
        fs::write(&path, end.to_le_bytes().repeat(tokens as usize)).unwrap();
    };
    empty("train.bin");
    let trained = place.command(&["train", "tiny.toml", "--run", "r"]).output().unwrap();
    assert!(trained.status.success(), "{}", shown(&trained));
    let told = String::from_utf8_lossy(&trained.stderr).into_owned();
    assert!(told.contains("step 1 has no loss"), "{told}");
    assert!(told.contains("step 8 has no loss, as in 7 before"), "{told}");
    let log = fs::read_to_string(place.path("r/metrics.jsonl")).unwrap();
    let steps: Vec<&str> = log.lines().filter(|line| line.contains("\"kind\":\"step\"")).collect();
    assert_eq!(steps.len(), 12);
    assert!(steps.iter().all(|line| !line.contains("\"loss\"")), "{log}");
    // Everything that reads the log accepts it as it is.
    place.succeeds(&["plot", "r", "--out", "figures"]);
    place.succeeds(&["report", "r", "-o", "report.html"]);
    place.succeeds(&["export", "r", "--parquet", "tables"]);

    empty("valid.bin");
    place.fails(&["eval", "r"], 4, &["nothing to evaluate on", "end of text"]);
    let trained = place.command(&["train", "tiny.toml", "--run", "s"]).output().unwrap();
    assert!(trained.status.success(), "{}", shown(&trained));
    let log = fs::read_to_string(place.path("s/metrics.jsonl")).unwrap();
    assert!(!log.contains("\"kind\":\"eval\""), "{log}");
    assert!(String::from_utf8_lossy(&trained.stderr).contains("there is no held-out loss after step 12"));
}
