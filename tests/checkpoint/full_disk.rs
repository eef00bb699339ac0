//! A disk that fills up: one clear message, and no existing file is lost.
#![cfg(unix)]

use crate::layouts::gpt2 as layout;
use std::fs;
use std::path::Path;
use std::process::Command;

use normfree::fault::{Fault, Kind};
use normfree::files;
use normfree::observe::log::MetricsLog;
use normfree::train::checkpoint::{Checkpoint, Spec, export};
use normfree::train::run_folder::RunFolder;

use super::{CHILD_FOLDER, Sample, any_bits, child, child_folder, contents};

/// Set if the limit is on each file, not on the disk: the system's message differs then.
const FILE_LIMIT: &str = "NORMFREE_TEST_FILE_LIMIT";

#[track_caller]
fn assert_full<T: std::fmt::Debug>(result: Result<T, Fault>) {
    let fault = result.unwrap_err();
    assert_eq!((fault.kind, fault.exit_code()), (Kind::Io, 9), "{fault}");
    let message = fault.to_string();
    let clear = if std::env::var_os(FILE_LIMIT).is_some() {
        message.contains("File too large")
    } else {
        message.ends_with("; the disk is full: free some space first")
    };
    assert!(message.starts_with("cannot write the ") && clear, "{message}");
}

/// Works in a folder with space for some hundred kilobytes, but not for two megabytes.
fn fill(folder: &Path) {
    let run = RunFolder::create(&folder.join("run")).unwrap();
    run.write_config("[model]\n").unwrap();
    let mut log = MetricsLog::open(&run.metrics(), 0).unwrap();
    log.append(&"first").unwrap();
    let mut small = Sample::of_step(1);
    small.state.metrics_bytes = log.sync().unwrap();
    small.write(&run, 1).unwrap();
    let before = contents(folder);

    let specs = [Spec::new("transformer.wte.weight", [600_000])];
    let large = Sample::new(specs.to_vec(), 2);
    assert_full(large.write(&run, 1));
    assert_full(files::write_atomic(&run.config(), &[b'#'; 2_400_000]));
    let model = run.checkpoints().join("step-00000001/model.safetensors");
    let layout = layout(&specs);
    assert_full(export(&model, &layout, &mut any_bits(&specs, 2).as_slice()));
    assert!(contents(folder) == before, "something was changed or left behind");
    assert_eq!(fs::read_dir(run.checkpoints()).unwrap().count(), 1);

    assert_full(log.append(&"x".repeat(2_400_000)).and_then(|()| log.sync()));
    drop(log);
    let path = run.path().to_owned();
    drop(run);
    // What a resume does, still on the full disk.
    let run = RunFolder::open(&path).unwrap();
    let latest = Checkpoint::latest(&run).unwrap().unwrap();
    small.assert_is(&latest.checkpoint);
    let mut log = MetricsLog::open(&run.metrics(), latest.checkpoint.state().metrics_bytes).unwrap();
    log.append(&"second").unwrap();
    log.sync().unwrap();
    assert_eq!(fs::read_to_string(run.metrics()).unwrap(), "\"first\"\n\"second\"\n");
    Sample::of_step(2).write(&run, 1).unwrap();
}

#[test]
#[ignore = "the process that the test below runs on a small disk"]
fn on_a_small_disk() {
    if let Some(folder) = child_folder() {
        fill(&folder);
    }
}

#[test]
fn loses_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let test = child("checkpoint::full_disk::on_a_small_disk", folder.path());
    // A file system of one mebibyte that only that process sees and that vanishes with it; if mounting is not allowed, a
    // limit of about that size on each file.
    let mount = format!("mount -t tmpfs -o size=1m tmpfs \"${CHILD_FOLDER}\" && exec \"$0\" \"$@\"");
    let limit = format!("ulimit -f 1024 && trap '' XFSZ && {FILE_LIMIT}=1 exec \"$0\" \"$@\"");
    let ways: [(&[&str], &str); 3] =
        [(&["unshare", "-m"], &mount), (&["unshare", "-r", "-m"], &mount), (&["env"], &limit)];
    for (way, script) in ways {
        let mut command = Command::new(way[0]);
        command.args(&way[1..]).args(["sh", "-c", script]).arg(test.get_program()).args(test.get_args());
        let Ok(output) = command.env(CHILD_FOLDER, folder.path()).output() else { continue };
        let said = String::from_utf8_lossy(&output.stdout);
        if said.contains("running 1 test") {
            println!("with {way:?}");
            let erred = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && said.contains("1 passed"), "{said}\n{erred}");
            return;
        }
    }
    panic!("no way to make a small disk here: neither a mount nor a limit on files");
}
