//! A process that is killed while it writes checkpoints loses none that it had written.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use normfree::observe::log::MetricsLog;
use normfree::train::checkpoint::{Checkpoint, Spec};
use normfree::train::run_folder::RunFolder;
use serde_json::json;

use super::{Bias, Random, Sample, child, child_folder, new_run, parameters};

/// Large enough that writing takes some time.
fn sample(step: u64) -> Sample {
    let mut specs = parameters(true, Bias::QueryKey, true);
    specs.push(Spec::new("transformer.large.slopes", [200, 300]));
    Sample::new(specs, step)
}

fn log_line(step: u64) -> String {
    format!("{{\"kind\":\"step\",\"step\":{step}}}\n")
}

/// The whole log up to and including `step`.
fn log_until(step: u64) -> String {
    (1..=step).map(log_line).collect()
}

/// Continues the run as a trainer does, until it is killed.
fn train(path: &Path) {
    println!("begins");
    let run = RunFolder::open(path).unwrap();
    let latest = Checkpoint::latest(&run).unwrap();
    let mut state = sample(0).state;
    state.metrics_bytes = 0;
    if let Some(latest) = latest {
        assert!(latest.skipped.is_empty());
        state = latest.checkpoint.state().clone();
    }
    let mut log = MetricsLog::open(&run.metrics(), state.metrics_bytes).unwrap();
    for step in state.step + 1.. {
        log.append(&json!({ "kind": "step", "step": step })).unwrap();
        let mut sample = sample(step);
        sample.state.metrics_bytes = log.sync().unwrap();
        sample.write(&run, 2).unwrap();
        println!("written {step}");
        // After a kill from here on, the log has lines that no checkpoint counts.
        log.append(&"a line of the next step").unwrap();
        log.flush().unwrap();
        log = MetricsLog::open(&run.metrics(), sample.state.metrics_bytes).unwrap();
    }
}

#[test]
#[ignore = "the process that the test below kills"]
fn victim() {
    if let Some(path) = child_folder() {
        train(&path);
    }
}

#[test]
fn loses_nothing() {
    let seed = Instant::now().elapsed().as_nanos() as u64
        ^ std::time::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_nanos() as u64);
    println!("seed {seed}");
    let mut random = Random(seed);
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    drop(run);

    let begun = Instant::now();
    let (mut kills, mut in_the_middle, mut last) = (0, 0, 0);
    let enough = |kills, in_the_middle, last| kills >= 20 && in_the_middle > 0 && last > 0;
    // On a machine that is busy with other tests, this continues until it has met every case.
    while kills < 150 && (begun.elapsed().as_secs() < 10 || !enough(kills, in_the_middle, last)) {
        assert!(
            begun.elapsed().as_secs() < 120,
            "{kills} kills, {in_the_middle} in the middle, {last} written"
        );
        let mut victim = child("checkpoint::kill::victim", &path)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(victim.stdout.take().unwrap());
        let mut said = String::new();
        while !said.ends_with("begins\n") {
            assert!(out.read_line(&mut said).unwrap() > 0, "it ended by itself: {said}");
        }
        std::thread::sleep(Duration::from_micros(random.next() % 100_000));
        victim.kill().unwrap();
        out.read_to_string(&mut said).unwrap();
        let mut erred = String::new();
        victim.stderr.take().unwrap().read_to_string(&mut erred).unwrap();
        victim.wait().unwrap();
        kills += 1;
        assert!(!erred.contains("panicked"), "after {kills} kills: {erred}");
        // The last line can be cut off: it counts only with its line end.
        let lines = said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n'));
        let written = lines.filter_map(|line| line.split_once("written ")?.1.parse().ok());
        last = written.fold(last, u64::max);

        let names = fs::read_dir(path.join("checkpoints")).unwrap();
        let hidden =
            names.filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
        in_the_middle += u32::from(hidden.count() > 0);

        let run = RunFolder::read(&path).unwrap();
        let Some(latest) = Checkpoint::latest(&run).unwrap() else {
            assert_eq!(last, 0, "after {kills} kills no checkpoint is left");
            continue;
        };
        assert!(latest.skipped.is_empty(), "{:?}", latest.skipped);
        let state = latest.checkpoint.state();
        // The newest may be newer than the last one reported, never older.
        assert!((last..=last + 1).contains(&state.step), "step {} after {last} was written", state.step);
        last = state.step;
        let mut expected = sample(state.step);
        expected.state.metrics_bytes = log_until(state.step).len() as u64;
        expected.assert_is(&latest.checkpoint);
        let log = fs::read_to_string(run.metrics()).unwrap();
        assert!(log.starts_with(&log_until(state.step)), "{log}");
    }
    println!("{kills} kills, {in_the_middle} with something unfinished, {last} checkpoints");
    assert!(enough(kills, in_the_middle, last));
}
