//! What the program says to a newcomer: whole sentences that name the way out, and nothing of a library or the system.

use super::{Place, refused, shown};
use serde_json::Value;
use std::fs;
use std::process::Output;

/// What no message may hold: numbers of errors, names of unfinished files, words of Rust's library.
const DEBRIS: [&str; 6] = ["os error", ".writing", "invalid digit", "-- -", "at line 1", "0.0e0"];

fn told(output: &Output) -> String {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    for debris in DEBRIS {
        assert!(!stderr.contains(debris), "`{debris}` in {stderr}");
    }
    stderr
}

/// The command is refused with this code, and what is said has all of `parts`.
#[track_caller]
fn fails(place: &Place, arguments: &[&str], code: i32, parts: &[&str]) {
    let output = place.command(arguments).output().unwrap();
    refused(&output, code, parts);
    told(&output);
}

#[test]
fn a_wrong_command_line_is_told_what_would_do() {
    let place = Place::new();
    fails(&place, &["train"], 2, &["CONFIG", "--data", "--resume"]);
    let twice = ["train", "tiny.toml", "--data", "here", "--set", "data.path=there"];
    fails(&place, &twice, 2, &["named twice", "--data here", "data.path=there"]);
    fs::write(place.path("study.toml"), "[study]\nname = \"s\"\nbaseline = \"b\"\n").unwrap();
    fails(&place, &["train", "study.toml"], 3, &["study.toml", "`normfree study`"]);
    fails(&place, &["verify", "--threads", "100000"], 2, &["--threads 100000", "use at most --threads"]);
    for typed in [["--threads", "five"], ["--threads", "5.5"]] {
        fails(&place, &[&["ls"][..], &typed].concat(), 2, &[typed[1], "--threads", "give a whole number"]);
    }
    fails(&place, &["attend", "r", "--tokens", "-5"], 2, &["-5"]);
    fails(
        &place,
        &["report", "tiny.toml", "--set", "train.steps=2"],
        2,
        &["--set is about the study of a claim"],
    );
    // The variable that `Place` sets is no part of what is missing.
    let output = place.command(&["sample"]).output().unwrap();
    assert!(told(&output).contains("Usage: normfree sample <"), "{}", shown(&output));
}

#[test]
fn files_that_are_missing_or_in_the_way() {
    let place = Place::new();
    let name = ["nothing of that name", "check the name"];
    for command in [&["study", "nope.toml"][..], &["referee", "nope.toml"], &["train", "nope.toml"]] {
        fails(&place, command, 9, &name);
    }
    fails(&place, &["init", "a/b/c.toml"], 9, &["a/b/c.toml", "no folder a/b", "make that folder first"]);
    fails(&place, &["man", "tiny.toml"], 9, &["tiny.toml", "a file of that name", "choose another name"]);
    let printed = place.succeeds(&["init", "-"]);
    assert!(printed.contains("[model]") && !place.path("-").exists(), "{printed}");
}

#[test]
fn hidden_commands_stay_hidden() {
    let place = Place::new();
    for arguments in [&[][..], &["--quiet"]] {
        let output = place.command(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{}", shown(&output));
        assert!(!told(&output).contains("probe"), "{}", shown(&output));
    }
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = place.succeeds(&["completions", shell]);
        assert!(!script.contains("probe") && script.contains("device"), "{shell}");
    }
}

#[test]
fn a_manual_page_has_all_options_and_its_examples() {
    let place = Place::new();
    place.succeeds(&["man", "pages"]);
    let page = fs::read_to_string(place.path("pages/normfree-train.1")).unwrap();
    assert!(page.contains("\\-\\-device") && page.contains("\\-\\-threads"), "{page}");
    let examples = page.split(".SH EXAMPLES\n").nth(1).unwrap_or_else(|| panic!("{page}"));
    assert!(examples.starts_with(".nf\n  normfree train sm_r \\-\\-data \\(ti/code\n"), "{examples}");
    assert!(!page.contains("EXTRA"), "{page}");
    let root = fs::read_to_string(place.path("pages/normfree.1")).unwrap();
    assert!(root.contains(".SH EXIT STATUS\n.nf\n  0 done") && !root.contains("probe"), "{root}");
}

/// A list reads no weights, and says which run has no checkpoint left.
#[test]
fn ls_tells_the_state_by_what_is_small() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "runs/r", "--set", "train.keep_checkpoints=1"]);
    let weights = place.path("runs/r/checkpoints/step-00000012/model.safetensors");
    let state = || {
        let output = place.command(&["ls", "--json"]).output().unwrap();
        assert!(output.status.success() && told(&output).is_empty(), "{}", shown(&output));
        let row: Value = serde_json::from_slice(&output.stdout).unwrap();
        row["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state(), "done");
    // Other bytes are seen by those who read them.
    let bytes = fs::read(&weights).unwrap();
    fs::write(&weights, vec![0; bytes.len()]).unwrap();
    assert_eq!(state(), "done");
    let damaged = ["no checkpoint of the run is intact", "found 1 damaged: the checkpoint is damaged"];
    fails(&place, &["train", "--resume", "runs/r"], 5, &damaged);
    fs::write(&weights, &bytes[..bytes.len() / 2]).unwrap();
    assert_eq!(state(), "damaged checkpoint");
    let list = place.succeeds(&["ls"]);
    assert!(list.contains("damaged checkpoint  12/12") && list.contains("device"), "{list}");
    #[cfg(unix)]
    {
        let list = on_a_terminal(&place, &["ls"], 60);
        assert!(list.lines().all(|line| line.starts_with("note") || line.chars().count() <= 60), "{list}");
        assert!(list.contains("damaged checkpoint") && list.contains("terminal is narrow: device"), "{list}");
    }
}

/// What a command writes to a terminal of so many columns.
#[cfg(unix)]
fn on_a_terminal(place: &Place, arguments: &[&str], cols: u16) -> String {
    use portable_pty::{CommandBuilder, PtySize, native_pty_system};
    use std::io::Read;
    let pair = native_pty_system().openpty(PtySize { rows: 24, cols, ..PtySize::default() }).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_normfree"));
    command.args(arguments);
    command.cwd(place.path(""));
    command.env("NORMFREE_CACHE", place.path("cache"));
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut written = Vec::new();
    // Linux ends what is read from a terminal that nobody has open with an error.
    let _ = pair.master.try_clone_reader().unwrap().read_to_end(&mut written);
    assert!(child.wait().unwrap().success());
    String::from_utf8(written).unwrap()
}

#[test]
fn a_run_s_name_is_quoted_and_its_steps_only_grow() {
    let place = Place::with_data();
    let run = "a $(touch x) ü";
    let said = place.succeeds(&["train", "tiny.toml", "--run", run]);
    assert!(said.contains("12 steps done; draw it with `normfree plot 'a $(touch x) ü'`"), "{said}");
    fails(
        &place,
        &["train", "--resume", run, "--set", "train.steps=7"],
        3,
        &["more steps, not fewer", "7 steps for a run of 12, which has done 12", "more than 12"],
    );
    for file in ["x.gif", "x.pdf"] {
        let attend = ["attend", run, "--prompt", "a b", "--out", file];
        fails(&place, &attend, 2, &[file, ".html, .png or .svg"]);
        assert!(!place.path(file).exists());
    }
    fails(&place, &["attend", run, "--file", "nope"], 9, &["nothing of that name"]);
    // Characters that are no tokens of their own.
    let text = "Ünï 漢";
    let told = place.succeeds(&["attend", run, "--prompt", text, "--json"]);
    let told: Value = serde_json::from_str(&told).unwrap();
    let pieces: Vec<&str> =
        told["tokens"].as_array().unwrap().iter().map(|token| token["text"].as_str().unwrap()).collect();
    assert_eq!(pieces.concat(), text);
    assert!(pieces.len() > text.chars().count(), "no character is split: {pieces:?}");
}
