//! Several runs at a time in one process: the bytes of one after another, one stop for all, and refusals.

use super::{FOLDERS, STUDY, place};
use crate::cli::{Place, assert_same, refused, sets, shown};
use normfree::config::Config;
use normfree::device::Device;
use normfree::host::Host;
use normfree::study::Grid;
use normfree::train::engine::Blueprint;
use normfree::train::memory;
use std::fs;

/// Two jobs on three threads: one of them has two.
const TWO: [&str; 4] = ["--threads", "3", "--jobs", "2"];

#[track_caller]
fn assert_same_runs(place: &Place, one: &str, other: &str, names: &[&str]) {
    for name in names {
        assert_same(&place.path(one).join(name), &place.path(other).join(name));
    }
    let record = |out: &str| fs::read(place.path(out).join("study.json")).unwrap();
    assert!(record(one) == record(other));
}

#[test]
fn two_jobs_make_the_bytes_of_one() {
    let place = place();
    let told = place.succeeds(&["study", "tiny.toml", "--threads", "3", "--out", "one", "--quiet"]);
    // 5 runs of 12 steps of 2 times 16 tokens.
    assert!(told.contains("trained on 1,920 tokens in ") && told.contains(" tokens/s in all"), "{told}");
    let two = [&["study", "tiny.toml", "--out", "two"], &TWO[..]].concat();
    let output = place.command(&two).output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(told.contains("5 of 5 runs done") && told.contains("trained on 1,920 tokens in "), "{told}");
    assert_same_runs(&place, "one", "two", &FOLDERS);
    // Every line names one run and only one.
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let labels: Vec<String> =
        FOLDERS.iter().zip(1..).map(|(name, place)| format!("{place}/5 {name}")).collect();
    for line in said.lines() {
        let own = labels.iter().filter(|label| line.contains(*label)).count();
        assert!(own == 1 && labels.iter().any(|label| line.starts_with(&format!("{label}  "))), "{line}");
    }
    for label in &labels {
        assert!(said.contains(&format!("{label}  step 12: held-out loss ")), "{label}: {said}");
    }
    assert!(said.contains(" tokens/s in all  "), "{said}");

    // Called again there is nothing to train, and nothing is said of a speed.
    let told = place.succeeds(&two);
    assert!(told.contains("5 of 5 runs done") && !told.contains("trained on"), "{told}");
    for name in ["r-seed1", "free-seed2"] {
        fs::remove_dir_all(place.path("two").join(name)).unwrap();
    }
    let plan = |jobs: &str| {
        let plan = ["study", "tiny.toml", "--out", "two", "--dry-run", "--threads", "2", "--jobs", jobs];
        place.succeeds(&plan)
    };
    assert!(!plan("1").contains("at a time"), "{}", plan("1"));
    let told = plan("2");
    for part in ["memory with 2 runs at a time: 16.", "time of all: with 2 runs at a time, if each is"] {
        assert!(told.contains(part), "{told}");
    }
}

/// The first runs to fail are listed in the order of the study, and the others end well.
#[test]
fn a_failing_run_leaves_the_other_jobs_alone() {
    let place = place();
    let breaks =
        "name = \"r\"\nmodel.embd_pdrop = 0.0\ntrain.learning_rate = 1e15\ntrain.max_grad_norm = 0.0";
    fs::write(place.path("tiny.toml"), STUDY.replace("name = \"r\"", breaks)).unwrap();
    let study = [&["study", "tiny.toml", "--out", "s"], &TWO[..]].concat();
    let output = place.command(&study).output().unwrap();
    refused(&output, 10, &["2 of 5 runs failed", "\n  r-seed1: training stopped", "\n  r-seed2: "]);
    assert!(String::from_utf8_lossy(&output.stdout).contains("3 of 5 runs done"), "{}", shown(&output));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("2/5 r-seed1  failed: training stopped"), "{said}");
    assert!(said.find("\n  r-seed1: ") < said.find("\n  r-seed2: "), "{said}");
}

#[cfg(unix)]
#[test]
fn a_stop_ends_all_jobs_and_each_continues() {
    use crate::cli::{signal, stopped};
    use std::process::Stdio;
    use std::time::{Duration, Instant};

    let place = place();
    let keys = ["steps=2500", "eval_every=1250", "checkpoint_every=5000", "keep_checkpoints=1"];
    let keys = keys.map(|key| format!("train.{key}"));
    let keys = keys.each_ref().map(String::as_str);
    let study = |out: &'static str| {
        let study = ["study", "tiny.toml", "--out", out, "--shard", "1/2"];
        [&study[..], &TWO[..], &sets(&keys)[..]].concat()
    };
    let (first, second, third) = (FOLDERS[0], FOLDERS[2], FOLDERS[4]);
    let child = place.command(&study("s")).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    let trains = |name: &str| {
        fs::metadata(place.path("s").join(name).join("metrics.jsonl")).is_ok_and(|file| file.len() > 0)
    };
    while !(trains(first) && trains(second)) {
        assert!(began.elapsed() < Duration::from_secs(120), "the study does not begin");
        std::thread::sleep(Duration::from_millis(1));
    }
    signal("TERM", &child);
    let told = stopped(&child.wait_with_output().unwrap());
    let each = |name: &str| told.contains(&format!("\n  {name}: interrupted after step "));
    assert!(told.contains("\ninterrupted 2 runs; continue with: ") && each(first) && each(second), "{told}");
    let plan = place.succeeds(&[&study("s")[..], &["--dry-run"]].concat());
    assert!(plan.matches(" of 2,500").count() == 2 && plan.matches("missing").count() == 1, "{plan}");

    let told = place.succeeds(&study("s"));
    assert!(told.contains("3 of 3 runs of shard 1/2 done"), "{told}");
    place.succeeds(&study("whole"));
    assert_same_runs(&place, "whole", "s", &[first, second, third]);
}

#[test]
fn impossible_jobs_are_refused_before_anything_begins() {
    let place = place();
    let jobs = |number: &'static str| ["study", "tiny.toml", "--threads", "2", "--jobs", number];
    place.fails(&jobs("0"), 2, &["a study without a job", "--jobs 0"]);
    place.fails(&jobs("3"), 2, &["--jobs 3: found 3 jobs and 2 threads", "at most --jobs 2"]);
    place.fails(&[&jobs("3")[..], &["--dry-run"]].concat(), 2, &["3 jobs and 2 threads"]);
    assert!(!place.path("runs").exists());
    let place = place.on_driver();
    let refused = ["only the CPU trains several runs at once", "--jobs 2: found an adapter", "--device cpu"];
    place.fails(&["study", "tiny.toml", "--jobs", "2"], 2, &refused);
    assert!(!place.path("runs").exists());
}

/// Each run alone has room, two of them have not.
#[cfg(target_os = "linux")]
#[test]
fn memory_is_checked_for_all_jobs_together() {
    let place = place();
    let (cpu, there) = (Device::from(Host::open(1).unwrap()), memory::available().unwrap());
    let width = if there < 100 << 30 { 1024 } else { 8192 };
    let keys = |batch: u64| {
        let keys = [("train.batch_size", batch), ("model.n_embd", width), ("model.n_head", width / 64)];
        keys.map(|(key, value)| format!("{key}={value}"))
    };
    let demand = |batch| {
        let grid = Grid::load(&place.path("tiny.toml"), &keys(batch)).unwrap();
        let of = |config: &Config| Blueprint::new(config, cpu.traits()).demand(cpu.traits()).total();
        grid.runs.iter().map(|run| of(&run.config)).max().unwrap()
    };
    // A little more than half of what there is.
    let of_each = (demand(2000) - demand(1000)) / 1000;
    let wanted = keys((there * 6 / 10 - (demand(1000) - 1000 * of_each)) / of_each);
    let sets = sets(&wanted.each_ref().map(String::as_str));
    let study = [&["study", "tiny.toml", "--threads", "2", "--jobs", "2"][..], &sets].concat();
    place.fails(&study, 8, &["the 2 largest models need together", "MiB available", "fewer runs at once"]);
    assert!(!place.path("runs").exists());
    let plan = place.succeeds(&[&study[..], &["--dry-run"]].concat());
    assert!(plan.contains("2 runs at a time would fail on this device: the 2 largest"), "{plan}");
    assert_eq!(plan.matches("would fail").count(), 1, "{plan}");
}
