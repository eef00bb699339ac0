//! Readers of diagnostics, and signals: a reader that leaves, a full disk, a terminal that closes, Ctrl-C. None of these
//! costs a run more than the work since its last checkpoint.

use super::whole::{newest_checkpoint, started};
use super::{Place, assert_same, sets, shown, signal, stopped};
use portable_pty::{CommandBuilder, PtySize, native_pty_system};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Everything here ends within this time, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);
/// Ctrl-C is answered within this time if nothing has to be saved: a second, and another for a busy machine.
const AT_ONCE: Duration = Duration::from_secs(2);

/// Two runs of two steps.
const STUDY: &str = "\
[study]
name = \"two\"
baseline = \"sm_g\"
seeds = [1]

[[configuration]]
name = \"sm_g\"
model.activation_function = \"gelu\"

[[configuration]]
name = \"sm_r\"
";

/// A place with a study of the tiny model beside it, and a run `r` to evaluate.
fn place_with_study() -> Place {
    let place = Place::with_data();
    let model = fs::read_to_string(place.path("tiny.toml")).unwrap();
    fs::write(place.path("two.toml"), format!("{STUDY}\n{model}")).unwrap();
    place.succeeds(&["train", "tiny.toml", "--run", "r"]);
    place
}

/// Waits for the end, and fails if it does not come.
#[track_caller]
fn ended(mut child: Child, patience: Duration) -> Output {
    let began = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if began.elapsed() > patience {
            child.kill().unwrap();
            panic!("after {patience:?} it has not ended: {}", shown(&child.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    child.wait_with_output().unwrap()
}

/// Commands whose diagnostics nobody reads; `NAME` is new in each call.
const COMMANDS: [&str; 6] = [
    "train tiny.toml --run NAME",
    "train tiny.toml --run NAME --plain",
    "study two.toml --out NAME --set train.steps=2",
    "study two.toml --out NAME --set train.steps=2 --plain",
    "eval r",
    "prepare text --out NAME --vocab-size 300 --chunk 16",
];

fn command(place: &Place, line: &str, name: &str) -> Command {
    place.command(&line.replace("NAME", name).split(' ').collect::<Vec<_>>())
}

#[test]
fn diagnostics_that_nobody_gets_stop_nothing() {
    let place = place_with_study();
    for (number, line) in COMMANDS.iter().enumerate() {
        // Like `2>&1 | head -1`: one line is read, and then the reader is gone.
        let name = format!("gone{number}");
        let mut child =
            command(&place, line, &name).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        let mut reader = BufReader::new(child.stderr.take().unwrap());
        reader.read_line(&mut first).unwrap();
        drop(reader);
        let output = ended(child, PATIENCE);
        assert!(output.status.success(), "{line}: {first}{}", shown(&output));

        let full = File::options().write(true).open("/dev/full");
        // Only Linux has this device.
        let Ok(full) = full else { continue };
        let name = format!("full{number}");
        let child = command(&place, line, &name).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
        let output = ended(child, PATIENCE);
        assert!(output.status.success(), "{line}: {}", shown(&output));
    }
    for run in ["gone0", "gone1"] {
        assert_same(&place.path("r"), &place.path(run));
    }
}

/// A pager that nobody scrolls: the pipe is full from the beginning.
#[test]
fn a_run_does_not_wait_for_the_reader_of_its_diagnostics() {
    let place = Place::with_data();
    let (mut reader, writer) = std::io::pipe().unwrap();
    // As much as fits: the system sets the size of a pipe.
    let filled = Arc::new(AtomicBool::new(false));
    let told = filled.clone();
    let mut filler = writer.try_clone().unwrap();
    let thread =
        std::thread::spawn(
            move || {
                while !told.load(Ordering::Relaxed) && filler.write(&[b'.'; 512]).is_ok() {}
            },
        );
    std::thread::sleep(Duration::from_millis(500));
    let mut command = place.command(&["train", "tiny.toml", "--run", "r"]);
    let child = command.stdout(Stdio::null()).stderr(writer.try_clone().unwrap()).spawn().unwrap();
    drop(command);
    let began = Instant::now();
    while !place.path("r/checkpoints/step-00000012").exists() {
        assert!(began.elapsed() < PATIENCE, "the run waits for its reader");
        std::thread::sleep(Duration::from_millis(10));
    }
    // Now somebody scrolls, and gets everything.
    filled.store(true, Ordering::Relaxed);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    let output = ended(child, PATIENCE);
    assert!(output.status.success(), "{}", shown(&output));
    thread.join().unwrap();
    drop(writer);
    let text = reading.join().unwrap();
    assert!(text.contains("step 6: held-out loss") && text.contains("12/12"), "{text}");
}

/// Results that cannot be written are reported, whatever was to be printed.
#[cfg(target_os = "linux")]
#[test]
fn results_on_a_full_disk_are_a_failure() {
    let place = place_with_study();
    for line in [
        "--help",
        "--version",
        "train --help",
        "devices",
        "train tiny.toml --run NAME",
        "train tiny.toml --dry-run",
        "study two.toml --out NAME --set train.steps=1",
        "eval r",
        "eval r --json",
        "sample r --tokens 3",
        "plot r --out NAME",
        "report r -o NAME.html",
        "export r --parquet NAME",
        "prepare text --out NAME --vocab-size 300 --chunk 16",
        "verify --op add",
    ] {
        let full = File::options().write(true).open("/dev/full").unwrap();
        let name = line.split(' ').next().unwrap();
        let output = command(&place, line, name).stdout(full).output().unwrap();
        super::refused(&output, 9, &["cannot write the result", "the disk is full"]);
        // A reader that has left is not an error.
        let name = format!("{name}-gone");
        let mut child =
            command(&place, line, &name).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = ended(child, PATIENCE);
        assert!(output.status.success(), "{line}: {}", shown(&output));
    }
}

/// What was on a terminal before it was closed, and how the command in it ended.
fn in_a_closing_terminal(place: &Place, line: &str, until: &str) -> (String, portable_pty::ExitStatus) {
    let pair = native_pty_system().openpty(PtySize { rows: 24, cols: 80, ..PtySize::default() }).unwrap();
    let mut command = CommandBuilder::new(env!("CARGO_BIN_EXE_normfree"));
    command.args(line.split(' '));
    command.cwd(place.path(""));
    command.env("TERM", "xterm-256color");
    command.env("NORMFREE_CACHE", place.path("cache"));
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let (mut seen, mut bytes) = (Vec::new(), [0; 4096]);
    while !String::from_utf8_lossy(&seen).contains(until) {
        match reader.read(&mut bytes) {
            Ok(count @ 1..) => seen.extend(&bytes[..count]),
            end => panic!("{line}: {end:?} before `{until}`: {}", String::from_utf8_lossy(&seen)),
        }
    }
    // The window is closed: the system tells its session, and every write fails from here on.
    drop(reader);
    drop(pair.master);
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        if began.elapsed() > PATIENCE {
            child.kill().unwrap();
            panic!("{line}: it has not ended: {}", String::from_utf8_lossy(&seen));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    (String::from_utf8_lossy(&seen).into_owned(), status)
}

#[test]
fn a_terminal_that_closes_costs_no_step() {
    let place = place_with_study();
    // Notes of evaluations arrive all the time, in the view or as lines.
    let long = "--set train.steps=100000 --set train.eval_every=2 --set train.checkpoint_every=100000";
    for (line, until, run) in [
        ("train tiny.toml --run a", "entropy of heads", "a"),
        ("train tiny.toml --run b --plain", "held-out loss", "b"),
        ("study two.toml --out c", "entropy of heads", "c/sm_g-seed1"),
        ("study two.toml --out d --plain", "held-out loss", "d/sm_g-seed1"),
    ] {
        let (seen, status) = in_a_closing_terminal(&place, &format!("{line} {long}"), until);
        assert_eq!(status.exit_code(), 130, "{line}: {status}: {seen}");
        assert!(newest_checkpoint(&place.path(run)).is_some(), "{line}: there is no checkpoint: {seen}");
        // It resumes from there, not from the beginning.
        let step = newest_checkpoint(&place.path(run)).unwrap();
        let eval = place.succeeds(&["eval", run]);
        let number: u64 = step.trim_start_matches("step-").parse().unwrap();
        assert!(number > 0 && eval.contains(&format!("step {number},")), "{step}: {eval}");
    }
    // These have nothing to save.
    let (seen, status) = in_a_closing_terminal(&place, "eval r --chunks 0", "chunks");
    assert_eq!(status.exit_code(), 130, "{status}: {seen}");
    big_text(&place);
    let (seen, status) = in_a_closing_terminal(&place, "prepare big --out e --vocab-size 900", "reading");
    assert_eq!(status.exit_code(), 130, "{status}: {seen}");
    assert_nothing_unfinished(&place.path("e"));
}

/// Text that takes some seconds to prepare.
fn big_text(place: &Place) {
    fs::create_dir(place.path("big")).unwrap();
    let mut text = String::new();
    let mut word = 1u64;
    while text.len() < 24 << 20 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        text.push_str(&format!("{:x} ", word >> 24));
    }
    for part in 0..4 {
        fs::write(place.path(&format!("big/{part}.txt")), format!("{part}\n{text}")).unwrap();
    }
}

/// Checks that there is no folder, or that all files in it are whole: for data, all four or none.
#[track_caller]
fn assert_nothing_unfinished(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    let is_part = |name: &String| {
        let data = name.ends_with(".bin") || name == "tokenizer.json";
        name.ends_with(".writing")
            || name.starts_with(".prepare-")
            || (data && !names.iter().any(|name| name == "meta.json"))
    };
    assert!(!names.iter().any(is_part), "{names:?} are left");
}

/// As with `nohup`, and as a service does it.
#[test]
fn a_signal_that_was_ignored_stays_ignored() {
    let place = Place::with_data();
    let line = "trap '' HUP; exec \"$0\" train tiny.toml --run r --plain --set train.steps=1000000";
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_normfree")]).current_dir(place.path(""));
    command.env("NORMFREE_CACHE", place.path("cache"));
    let log = place.path("r/metrics.jsonl");
    let child = started(command, &log);
    signal("HUP", &child);
    let length = fs::metadata(&log).unwrap().len();
    let began = Instant::now();
    // It continues to write after that, for some time.
    while fs::metadata(&log).unwrap().len() < length + 40_000 {
        assert!(began.elapsed() < PATIENCE, "the run does not go on");
        std::thread::sleep(Duration::from_millis(5));
    }
    signal("TERM", &child);
    let output = ended(child, PATIENCE);
    let told = stopped(&output);
    assert!(told.contains("interrupted after step"), "{told}");
}

/// Runs the last suggested command line in a shell.
#[track_caller]
fn pasted(place: &Place, told: &str) -> Output {
    let line = told.lines().filter_map(|line| line.split_once("continue with: ")).next_back().unwrap().1;
    let mut shell = Command::new("sh");
    shell.args(["-c", line]).current_dir(place.path("")).env("NORMFREE_CACHE", place.path("cache"));
    let output = shell.output().unwrap();
    assert!(output.status.success(), "`{line}`: {}", shown(&output));
    output
}

#[test]
fn every_stop_prints_the_command_that_resumes() {
    let place = place_with_study();
    let steps = ["--set", "train.steps=150", "--set", "train.eval_every=75"];
    let long = |arguments: &[&str]| place.command(&[arguments, &steps[..]].concat());
    // `timeout` and shells send a signal twice: it counts as one request.
    let twice = |child: &Child, name: &str| {
        signal(name, child);
        signal(name, child);
    };

    // A name that a shell would split.
    let run = "it's a run";
    let child = started(
        long(&["train", "tiny.toml", "--run", run, "--plain"]),
        &place.path(run).join("metrics.jsonl"),
    );
    twice(&child, "TERM");
    let told = stopped(&ended(child, PATIENCE));
    assert!(told.contains("interrupted after step") && told.contains("--plain"), "{told}");
    assert!(shown(&pasted(&place, &told)).contains("150 steps done"));
    let whole = long(&["train", "tiny.toml", "--run", "whole"]).output().unwrap();
    assert!(whole.status.success(), "{}", shown(&whole));
    assert_same(&place.path("whole"), &place.path(run));

    let child = started(
        long(&["study", "two.toml", "--out", "my study"]),
        &place.path("my study/sm_g-seed1/metrics.jsonl"),
    );
    // Not a hangup: these tests, and so their child processes, may be told to ignore it by `nohup`.
    twice(&child, "TERM");
    let told = stopped(&ended(child, PATIENCE));
    assert!(told.contains("sm_g-seed1"), "{told}");
    assert!(shown(&pasted(&place, &told)).contains("2 of 2 runs done"));

    let demo =
        ["demo", "--data", "data", "--out", "demo", "--set", "model.n_layer=1", "--set", "model.n_embd=16"];
    let demo = [&demo[..], &["--set", "model.n_positions=16", "--set", "train.eval_chunks=4"]].concat();
    let child = started(long(&demo), &place.path("demo/sm_ln_g/metrics.jsonl"));
    signal("TERM", &child);
    let told = stopped(&ended(child, PATIENCE));
    assert!(shown(&pasted(&place, &told)).contains("ReLU against GELU"));
}

/// A person who presses Ctrl-C again does not want to wait for the step.
#[test]
fn a_second_request_ends_a_long_step() {
    let place = Place::with_data();
    let keys = ["train.gradient_accumulation_steps=50000", "train.steps=1000"];
    let arguments = [&["train", "tiny.toml", "--run", "r"], &sets(&keys)[..]].concat();
    let mut child = place.command(&arguments).stderr(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    // The log is opened when the run begins; its first step takes long.
    while !place.path("r/metrics.jsonl").exists() {
        assert!(began.elapsed() < PATIENCE && child.try_wait().unwrap().is_none(), "the run does not begin");
        std::thread::sleep(Duration::from_millis(5));
    }
    std::thread::sleep(Duration::from_secs(1));
    signal("TERM", &child);
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    while !told.contains("finishing this step") {
        assert!(lines.read_line(&mut told).unwrap() > 0, "it has ended at once: {told}");
    }
    std::thread::sleep(Duration::from_millis(700));
    assert!(child.try_wait().unwrap().is_none(), "the step was over too soon");
    signal("TERM", &child);
    let output = ended(child, AT_ONCE);
    lines.read_to_string(&mut told).unwrap();
    assert_eq!(output.status.code(), Some(130), "{told}");
    assert!(
        told.contains("exited at once") && told.contains("continue with: ") && !told.contains("error"),
        "{told}"
    );
    // The run exists, and can be begun again.
    assert!(place.path("r/config.toml").exists());
}

/// A run that cannot write any more names the command that resumes it, once there is space.
#[test]
fn a_full_disk_stops_a_run_and_prints_the_command_that_resumes_it() {
    let place = Place::with_data();
    // The limit of a file's size, in blocks of 512 bytes: more than a checkpoint takes, less than the log.
    let line = "trap '' XFSZ; ulimit -f 300; exec \"$0\" train tiny.toml --run r \"$@\"";
    let keys = ["train.steps=1000", "train.eval_every=500", "observe.tensorboard=false"];
    let mut command = Command::new("sh");
    command.args(["-c", line, env!("CARGO_BIN_EXE_normfree")]).args(sets(&keys)).current_dir(place.path(""));
    command.env("NORMFREE_CACHE", "");
    let output = command.output().unwrap();
    super::refused(&output, 9, &["cannot write the run's log", "; continue with: "]);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(shown(&pasted(&place, &stderr)).contains("1,000 steps done"));
}

/// Before anything worth saving is computed, the process ends at once and leaves nothing.
#[test]
fn commands_without_anything_to_save_end_at_once() {
    let place = place_with_study().on_driver();
    big_text(&place);
    let stop = |line: &str, ready: &dyn Fn(&mut Child)| {
        let mut command = command(&place, line, "new");
        // With kernels from the driver's cache, a search or an evaluation may be over before the signal.
        command.env("MESA_SHADER_CACHE_DISABLE", "true");
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        ready(&mut child);
        let began = Instant::now();
        signal("TERM", &child);
        let output = ended(child, AT_ONCE);
        println!("{line}: ended {:?} after the signal", began.elapsed());
        let told = stopped(&output);
        assert!(
            told.contains("interrupted; continue with: ") && told.contains(line.split(' ').next().unwrap()),
            "{told}"
        );
        assert!(!place.path("new").join("config.toml").exists(), "{line}: the run folder is left");
        assert_nothing_unfinished(&place.path("new"));
    };
    let there = |name: &'static str| {
        let path = place.path(name);
        move |child: &mut Child| {
            let began = Instant::now();
            while !path.exists() {
                assert!(child.try_wait().unwrap().is_none(), "it has ended before {}", path.display());
                assert!(began.elapsed() < PATIENCE);
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    };
    let moment = |child: &mut Child| {
        std::thread::sleep(Duration::from_millis(250));
        assert!(child.try_wait().unwrap().is_none(), "it has ended already");
    };
    let first_line = |child: &mut Child| {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(!line.is_empty());
    };
    // Opening the device, compiling.
    stop("train tiny.toml --run new", &there("new/run.lock"));
    assert!(!place.path("new").exists());
    stop("train tiny.toml --run new --retune", &there("new/run.lock"));
    stop("study two.toml --out new", &there("new/sm_g-seed1/run.lock"));
    assert!(!place.path("new/sm_g-seed1").exists());
    fs::remove_dir_all(place.path("new")).unwrap();
    stop("train tiny.toml --run new --retune --set train.steps=7", &|child| {
        // Timing kernels: the program says so when it begins, and it takes many seconds.
        let mut lines = BufReader::new(child.stderr.as_mut().unwrap());
        let mut told = String::new();
        while !told.contains("timing") {
            assert!(lines.read_line(&mut told).unwrap() > 0, "nothing was timed: {told}");
        }
    });
    assert!(!place.path("new").exists());
    stop("verify", &first_line);
    stop("bench tiny.toml --rounds 10000", &moment);
    stop("eval r --chunks 0", &moment);
    stop("sample r --tokens 100000 --ignore-end-of-text", &moment);
    stop("prepare big --out new --vocab-size 900", &moment);
}

/// A run to resume may be named after `--resume`, or in place of a configuration.
#[test]
fn a_run_is_named_where_one_would_name_it() {
    let place = place_with_study();
    for line in
        ["train --resume r", "train --resume=r", "train r --resume", "train --resume tiny.toml --run r"]
    {
        let told = place.succeeds(&line.split(' ').collect::<Vec<_>>());
        assert!(told.contains("r: all 12 steps are done"), "{line}: {told}");
    }
    place.succeeds(&["train", "tiny.toml"]);
    let told = place.succeeds(&["train", "--resume", "tiny.toml"]);
    assert!(told.contains("runs/tiny: all 12 steps are done"), "{told}");
    place.fails(&["train", "--resume", "r", "--run", "runs/tiny"], 2, &["two runs are given", "runs/tiny"]);
    place.fails(&["train", "--resume", "tiny.toml", "two.toml"], 2, &["two configurations are given"]);
    place.fails(&["train", "--resume"], 2, &["--resume RUN"]);
    place.fails(&["train", "--resume", "misspelt"], 6, &["not the folder of a run", "misspelt"]);
    place.fails(&["train", "r"], 2, &["a folder is not a configuration", "train --resume r"]);
    place.fails(&["train", "text"], 2, &["a folder is not a configuration", "give a TOML file"]);
    place.fails(&["train", "tiny.toml", "--run", "r"], 6, &["already exists", "train --resume r`"]);
    let study = ["study", "two.toml", "--out", "new", "--resume"];
    place.fails(&[&study[..], &sets(&["train.steps=1"])].concat(), 6, &["nothing to resume", "--out"]);
    place.fails(&["demo", "--out", "new", "--resume"], 6, &["nothing to resume", "--out"]);
    assert!(!place.path("new").exists());
}
