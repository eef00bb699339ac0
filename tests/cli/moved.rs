//! Runs and data that are used from another working directory, or have moved.

use super::{Place, assert_same, refused, sets, shown};
use std::fs;
use std::path::Path;
use std::process::Output;

/// The program, called in another folder than the place's.
fn from(place: &Place, folder: &Path, arguments: &[&str]) -> Output {
    place.command(arguments).current_dir(folder).output().unwrap()
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", shown(output));
    assert!(!shown(output).contains("note: "), "{}", shown(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A run that began with given weights and is to resume after step 5, beside a finished one.
fn halved() -> Place {
    let place = Place::with_data();
    place.succeeds(&[&["train", "tiny.toml", "--run", "first"][..], &sets(&["train.steps=1"])].concat());
    let init = "train.init_from=first/checkpoints/step-00000001/model.safetensors";
    for run in ["runs/whole", "runs/r"] {
        let keys = sets(&[init, "train.keep_checkpoints=3", "observe.tensorboard=false"]);
        place.succeeds(&[&["train", "tiny.toml", "--run", run][..], &keys].concat());
    }
    for step in [10, 12] {
        fs::remove_dir_all(place.path(&format!("runs/r/checkpoints/step-{step:08}"))).unwrap();
    }
    place
}

#[test]
fn a_run_is_used_from_any_working_directory() {
    let place = halved();
    let elsewhere = tempfile::tempdir().unwrap();
    // The path as typed leads to another folder from there, which is not the run's.
    fs::create_dir(elsewhere.path().join("data")).unwrap();
    let run = place.path("runs/r").display().to_string();
    let told = succeeds(&from(&place, elsewhere.path(), &["-q", "eval", &run]));
    assert!(told.contains(&place.path("data").canonicalize().unwrap().display().to_string()), "{told}");
    succeeds(&from(&place, elsewhere.path(), &["-q", "sample", &run, "--prompt", "def", "--tokens", "3"]));
    succeeds(&from(&place, elsewhere.path(), &["-q", "train", "--resume", "--run", &run]));
    assert_same(&place.path("runs/whole"), &place.path("runs/r"));

    // A log without its checkpoints is not written over.
    fs::rename(place.path("runs/r/checkpoints"), place.path("moved")).unwrap();
    let log = fs::read(place.path("runs/r/metrics.jsonl")).unwrap();
    let output = from(&place, elsewhere.path(), &["-q", "train", "--resume", "--run", &run]);
    refused(&output, 5, &["the run's checkpoints are gone", "runs/r/checkpoints", "restore the folder"]);
    assert_eq!(fs::read(place.path("runs/r/metrics.jsonl")).unwrap(), log);

    // This also works from the beginning, with initial weights in another place.
    fs::remove_file(place.path("runs/r/metrics.jsonl")).unwrap();
    succeeds(&from(&place, elsewhere.path(), &["-q", "train", "--resume", "--run", &run]));
    assert_same(&place.path("runs/whole"), &place.path("runs/r"));
}

#[test]
fn a_run_may_move_alone_or_with_its_data() {
    let place = halved();
    let elsewhere = tempfile::tempdir().unwrap();
    // The run alone.
    fs::rename(place.path("runs/r"), place.path("r")).unwrap();
    succeeds(&from(&place, elsewhere.path(), &["-q", "eval", &place.path("r").display().to_string()]));
    fs::create_dir(place.path("runs/deep")).unwrap();
    fs::rename(place.path("r"), place.path("runs/deep/r")).unwrap();
    succeeds(&from(
        &place,
        elsewhere.path(),
        &["-q", "eval", &place.path("runs/deep/r").display().to_string()],
    ));
    fs::rename(place.path("runs/deep/r"), place.path("runs/r")).unwrap();
    // The whole tree. Its old place now has other data, which must not be taken for the run's.
    let moved = elsewhere.path().join("project");
    fs::create_dir(&moved).unwrap();
    for name in ["runs", "data", "first"] {
        fs::rename(place.path(name), moved.join(name)).unwrap();
    }
    let other = ["prepare", "text", "--out", "data", "--vocab-size", "300", "--chunk", "16", "--seed", "9"];
    place.succeeds(&other);
    let run = moved.join("runs/r").display().to_string();
    let told = succeeds(&from(&place, &place.path(""), &["-q", "eval", &run]));
    assert!(told.contains(&moved.join("data").canonicalize().unwrap().display().to_string()), "{told}");
    succeeds(&from(&place, &place.path(""), &["-q", "train", "--resume", "--run", &run]));
    assert_same(&moved.join("runs/whole"), &moved.join("runs/r"));
}

#[test]
fn data_may_move_and_is_known_by_its_bytes() {
    let place = halved();
    let before = place.succeeds(&["-q", "eval", "runs/r"]);
    fs::rename(place.path("data"), place.path("kept elsewhere")).unwrap();
    // The commands that the messages suggest do work.
    let resume = ["train", "--resume", "--run", "runs/r"];
    place.fails(&resume, 4, &["the data folder is missing, at data", "--resume --set data.path=DIR"]);
    place.fails(&["eval", "runs/r"], 4, &["the data folder is missing, at data", "--data DIR"]);
    let told = place.succeeds(&["-q", "eval", "runs/r", "--data", "kept elsewhere"]);
    assert_eq!(told.replace("kept elsewhere", "data"), before);
    succeeds(&from(&place, &place.path(""), &["-q", "sample", "runs/r", "--prompt", "def", "--tokens", "3"]));
    // Other data is refused.
    let other = ["prepare", "text", "--out", "other", "--vocab-size", "300", "--chunk", "16", "--seed", "9"];
    place.succeeds(&other);
    let output = place.command(&[&resume[..], &sets(&["data.path=other"])].concat()).output().unwrap();
    refused(
        &output,
        4,
        &["not what the run was started with, at other", "other training tokens", "data.path=DIR"],
    );
    let config = fs::read_to_string(place.path("runs/r/config.toml")).unwrap();
    assert!(config.contains("path = \"data\""), "a refused folder was kept: {config}");

    place.succeeds(&[&resume[..], &sets(&["data.path=kept elsewhere"])].concat());
    assert_same(&place.path("runs/whole"), &place.path("runs/r"));
    // The new place is kept, and works from any working directory.
    let below = place.path("runs");
    let told = succeeds(&from(&place, &below, &["-q", "eval", "r"]));
    assert!(told.contains("kept elsewhere"), "{told}");
}

#[test]
fn a_foreign_tokenizer_is_reported() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.steps=1"]);
    let own = fs::read(place.path("data/tokenizer.json")).unwrap();
    assert!(fs::read(place.path("r/tokenizer.json")).unwrap() == own);
    let sample = |more: &[&str]| {
        let output = place
            .command(&[&["sample", "r", "--prompt", "def", "--tokens", "3"], more].concat())
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", shown(&output));
        shown(&output).contains("is not the tokenizer that the run was trained with")
    };
    let text = "for i in range(3): print('other words', i)\n".repeat(40);
    fs::write(place.path("other.txt"), text).unwrap();
    place.succeeds(&["prepare", "other.txt", "--out", "other", "--vocab-size", "290", "--chunk", "16"]);
    assert!(!sample(&[]) && !sample(&["--tokenizer", "data/tokenizer.json"]));
    assert!(sample(&["--tokenizer", "other/tokenizer.json"]));
    // If the run's copy was changed, the data's tokenizer is used; if there is none, the change is reported.
    fs::copy(place.path("other/tokenizer.json"), place.path("r/tokenizer.json")).unwrap();
    assert!(!sample(&[]));
    fs::remove_dir_all(place.path("data")).unwrap();
    assert!(sample(&[]));
    fs::remove_file(place.path("r/tokenizer.json")).unwrap();
    place.fails(&["sample", "r"], 4, &["no tokenizer", "r/tokenizer.json", "--tokenizer FILE"]);
}

/// The numbers of another tokenizer stand for other text: no loss on them means anything.
#[test]
fn data_of_another_tokenizer_is_refused() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r"]);
    let words: String = (0..900).map(|i| format!("the {} of {}\n", i * 37 % 101, i * i % 89)).collect();
    fs::write(place.path("words.txt"), words).unwrap();
    let prepare = |out: &str, tokenizer: &[&str]| {
        let sizes = ["prepare", "words.txt", "--out", out, "--chunk", "16", "--valid-share", "0.2"];
        place.succeeds(&[&sizes[..], tokenizer].concat());
    };
    prepare("other", &["--vocab-size", "300"]);
    prepare("fitting", &["--tokenizer", "r/tokenizer.json"]);
    for command in [&["eval", "r"][..], &["sparsity", "r"]] {
        let on = |data| [command, &["--data", data]].concat();
        place.fails(
            &on("other"),
            4,
            &["another tokenizer", "other/tokenizer.json", "--tokenizer r/tokenizer.json"],
        );
        place.succeeds(&on("fitting"));
    }
    // The run's own folder, prepared anew.
    fs::remove_dir_all(place.path("data")).unwrap();
    fs::rename(place.path("other"), place.path("data")).unwrap();
    place.fails(&["attend", "r"], 4, &["another tokenizer", "--prompt"]);
    place.succeeds(&["attend", "r", "--prompt", "def f"]);
}
