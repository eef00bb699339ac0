//! Everything a resume relies on: changes by hand are detected. For runs from before there was a seal, everything that can
//! be checked is checked.

use super::{Place, assert_same, refused, sets, shown};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};

const RESUME: [&str; 4] = ["train", "--resume", "--run", "r"];

/// Two runs of the same training; `r` is to resume after step 10, with one checkpoint.
fn halved() -> Place {
    let place = Place::with_data();
    let keep = sets(&["train.keep_checkpoints=1"]);
    place.succeeds(&[&["train", "tiny.toml", "--run", "whole"][..], &keep].concat());
    place.succeeds(
        &[&["train", "tiny.toml", "--run", "r"][..], &sets(&["train.keep_checkpoints=2"])].concat(),
    );
    fs::remove_dir_all(place.path("r/checkpoints/step-00000012")).unwrap();
    fs::remove_dir_all(place.path("r/checkpoints/step-00000005")).unwrap_or_default();
    place
}

fn state_file(place: &Place) -> PathBuf {
    place.path("r/checkpoints/step-00000010/trainer_state.json")
}

fn change(path: &Path, how: impl FnOnce(&mut Value)) {
    let mut state: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    how(&mut state);
    fs::write(path, format!("{state:#}\n")).unwrap();
}

/// Turns a run into what it would have been before states were sealed: the second format, and no tokenizer.
fn make_old(place: &Place) {
    change(&state_file(place), |state| {
        let state = state.as_object_mut().unwrap();
        state["format_version"] = 2.into();
        for key in ["sha256", "metrics_sha256", "data", "config", "kernels", "finite"] {
            state.remove(key).unwrap();
        }
    });
    change(&place.path("r/env.json"), |environment| {
        environment.as_object_mut().unwrap().remove("places").unwrap();
    });
    fs::remove_file(place.path("r/tokenizer.json")).unwrap();
}

#[test]
fn a_state_changed_by_hand_is_not_resumed() {
    let place = halved();
    let path = state_file(&place);
    let whole = fs::read(&path).unwrap();
    let text = String::from_utf8(whole.clone()).unwrap();
    let state: Value = serde_json::from_str(&text).unwrap();
    for (key, value) in state.as_object().unwrap() {
        let other = match value {
            Value::Number(number) => (number.as_u64().unwrap() + 1).to_string(),
            Value::Bool(flag) => (!flag).to_string(),
            _ => continue,
        };
        let changed = text.replace(&format!("  \"{key}\": {value}"), &format!("  \"{key}\": {other}"));
        assert_ne!(changed, text, "{key}");
        fs::write(&path, changed).unwrap();
        let found =
            if key == "format_version" { "of another version" } else { "with other bytes than were written" };
        place.fails(&RESUME, 5, &["trainer_state.json", found]);
    }
    // It is refused without its seal as well.
    fs::write(&path, text.replace("\"sha256\"", "\"sha257\"")).unwrap();
    place.fails(&RESUME, 5, &["trainer_state.json with other bytes"]);
    fs::write(&path, whole).unwrap();
    place.succeeds(&RESUME);
    assert_same_ends(&place);
}

/// The last checkpoint and the log of `r` are those of `whole`.
#[track_caller]
fn assert_same_ends(place: &Place) {
    fs::remove_dir_all(place.path("r/checkpoints/step-00000010")).unwrap_or_default();
    assert_same(&place.path("whole"), &place.path("r"));
}

#[test]
fn a_configuration_or_a_log_changed_by_hand_is_not_resumed() {
    let place = halved();
    let config = place.path("r/config.toml");
    let text = fs::read_to_string(&config).unwrap();
    for (from, to) in [("learning_rate = 0.001", "learning_rate = 0.01"), ("n_head = 2", "n_head = 1")] {
        assert!(text.contains(from), "{text}");
        fs::write(&config, text.replace(from, to)).unwrap();
        let key = from.split(' ').next().unwrap();
        place.fails(&RESUME, 3, &["config.toml has changed since its checkpoint", key, "there", "here"]);
        place.fails(&["eval", "r"], 3, &["config.toml has changed", key]);
    }
    // How often it is saved is up to the user.
    fs::write(&config, text.replace("checkpoint_every = 5", "checkpoint_every = 6")).unwrap();
    place.succeeds(&["eval", "r"]);
    fs::write(&config, &text).unwrap();

    let log = place.path("r/metrics.jsonl");
    let whole = fs::read_to_string(&log).unwrap();
    fs::write(&log, whole.replacen("\"step\":3", "\"step\":4", 1)).unwrap();
    place.fails(&RESUME, 6, &["log has changed since its checkpoint", "other bytes"]);
    assert_eq!(
        fs::read_to_string(&log).unwrap(),
        whole.replacen("\"step\":3", "\"step\":4", 1),
        "it was cut"
    );
    fs::write(&log, whole).unwrap();
    // The kernels are those of the checkpoint, whatever env.json says.
    fs::write(place.path("r/env.json"), "{}").unwrap();
    place.succeeds(&RESUME);
    assert_same_ends(&place);
}

#[test]
fn every_byte_of_the_data_and_the_tokenizer_are_known_again() {
    let place = halved();
    let spoil = |name: &str, how: &dyn Fn(&mut Vec<u8>)| {
        let path = place.path(name);
        let whole = fs::read(&path).unwrap();
        let mut bytes = whole.clone();
        how(&mut bytes);
        fs::write(&path, bytes).unwrap();
        move || fs::write(path, whole).unwrap()
    };
    // The smallest change of a token that stays in the vocabulary.
    type Spoil<'a> = &'a dyn Fn(&mut Vec<u8>);
    let cases: [(&str, Spoil, &str); 4] = [
        ("data/train.bin", &|b| b[5000] ^= 1, "other training tokens"),
        ("data/valid.bin", &|b| *b.iter_mut().rev().nth(1).unwrap() ^= 1, "other held-out tokens"),
        ("data/tokenizer.json", &|b| b.push(b' '), "other tokenizer"),
        (
            "data/meta.json",
            &|b| *b = String::from_utf8_lossy(b).replace("\"end_of_text\": 0", "\"end_of_text\": 7").into(),
            "other end-of-text token",
        ),
    ];
    for (name, how, found) in cases {
        let put_back = spoil(name, how);
        place.fails(&RESUME, 4, &["not what the run was started with", found, "init_from"]);
        put_back();
    }
    let put_back = spoil("data/valid.bin", &|b| *b.iter_mut().rev().nth(1).unwrap() ^= 1);
    let output = place.command(&["eval", "r"]).output().unwrap();
    let told = shown(&output);
    assert!(output.status.success() && told.contains("not the data that the run was started with"), "{told}");
    put_back();
    // Training does not use the tokenizer, and the run has a copy of it.
    fs::remove_file(place.path("data/tokenizer.json")).unwrap();
    place.succeeds(&RESUME);
    assert_same_ends(&place);
}

#[test]
fn a_run_from_before_the_seal_resumes() {
    let place = halved();
    make_old(&place);
    let old = fs::read(state_file(&place)).unwrap();
    let wrong: [(&str, Value, &[&str]); 5] = [
        ("data_cursor", 7.into(), &["contradicts itself", "data_cursor 7, where 10 steps use 40 sequences"]),
        ("optimizer_steps", 11.into(), &["contradicts itself", "optimizer_steps 11 after 10 steps"]),
        (
            "optimizer_steps",
            9.into(),
            &["contradicts itself", "1 skipped update,", "0 records of numbers that are not finite"],
        ),
        ("recording", true.into(), &["contradicts itself", "recording"]),
        ("step", 9.into(), &["damaged", "the state of step 9 in it"]),
    ];
    for (key, value, parts) in wrong {
        change(&state_file(&place), |state| state[key] = value.clone());
        place.fails(&RESUME, 5, parts);
        fs::write(state_file(&place), &old).unwrap();
    }
    // A log that would be cut at the end of an earlier line.
    let log = fs::read(place.path("r/metrics.jsonl")).unwrap();
    let line = log.iter().position(|&byte| byte == b'\n').unwrap() as u64 + 1;
    change(&state_file(&place), |state| state["metrics_bytes"] = line.into());
    place.fails(
        &RESUME,
        5,
        &["contradicts itself", "metrics_bytes at 1 record of steps, the last of them step 0"],
    );
    assert!(fs::read(place.path("r/metrics.jsonl")).unwrap() == log, "the log was cut");
    change(&state_file(&place), |state| state["data_fingerprint"] = 7.into());
    place.fails(&RESUME, 4, &["not what the run was started with"]);
    fs::write(state_file(&place), &old).unwrap();

    // From another working directory: its data is found above its folder.
    let mut eval = place.command(&["eval", "../r"]);
    fs::create_dir(place.path("below")).unwrap();
    let output = eval.current_dir(place.path("below")).output().unwrap();
    let told = shown(&output);
    assert!(output.status.success() && !told.contains("not the data"), "{told}");

    // From here on it is sealed.
    place.succeeds(&RESUME);
    assert!(place.path("r/tokenizer.json").is_file());
    assert_same_ends(&place);
    change(&place.path("r/checkpoints/step-00000012/trainer_state.json"), |state| state["seed"] = 77.into());
    refused(&place.command(&RESUME).output().unwrap(), 5, &["trainer_state.json with other bytes"]);
}
