//! The run folder, its lock and its log.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use normfree::fault::{Fault, Kind};
use normfree::files;
use normfree::observe::log::MetricsLog;
use normfree::shell;
use normfree::train::checkpoint::Checkpoint;
use normfree::train::run_folder::RunFolder;
use serde_json::json;

use crate::checkpoint::{child, child_folder, contents, new_run};

#[track_caller]
fn refused(result: Result<RunFolder, Fault>, place: &Path, expected: &str) {
    let fault = result.unwrap_err();
    assert_eq!((fault.kind, fault.exit_code()), (Kind::RunFolder, 6), "{fault}");
    assert_eq!(fault.to_string(), expected.replace("PATH", &place.display().to_string()));
}

#[test]
fn holds_what_the_run_began_with() {
    let folder = tempfile::tempdir().unwrap();
    let run = RunFolder::create(&folder.path().join("runs/today/first")).unwrap();
    run.write_config("[model]\nn_layer = 3\n").unwrap();
    run.write_environment(&json!({ "adapter": "llvmpipe", "limits": { "bindings": 8 } })).unwrap();
    assert_eq!(fs::read_to_string(run.config()).unwrap(), "[model]\nn_layer = 3\n");
    let environment = fs::read_to_string(run.environment()).unwrap();
    assert_eq!(
        environment,
        "{\n  \"adapter\": \"llvmpipe\",\n  \"limits\": {\n    \"bindings\": 8\n  }\n}\n"
    );
    assert!(run.checkpoints().is_dir() && run.is_locked());
}

#[test]
fn is_made_where_nothing_is() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    drop(RunFolder::create(path).unwrap());
    // A run that was killed before it wrote anything does not count as one.
    fs::write(path.join(".config.toml.abc.writing"), "half").unwrap();
    let run = RunFolder::create(path).unwrap();
    run.write_config("").unwrap();
}

#[test]
fn is_not_made_where_a_run_is() {
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    drop(run);
    let before = contents(&path);
    refused(
        RunFolder::create(&path),
        &path,
        &format!(
            "the run folder already exists, at PATH: found a run; resume that run with `{}`, or choose another \
             folder with --run",
            shell::resume(&path)
        ),
    );
    assert!(contents(&path) == before);
}

#[test]
fn is_not_created_over_something_else() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("thesis");
    fs::create_dir(&path).unwrap();
    fs::write(path.join("chapter_1.tex"), "text").unwrap();
    refused(
        RunFolder::create(&path),
        &path,
        "the run folder already exists, at PATH: found chapter_1.tex in it, but no run; choose another folder with \
         --run",
    );
    assert_eq!(contents(&path).len(), 1, "something was added to somebody's folder");
    let file = path.join("chapter_1.tex");
    refused(
        RunFolder::create(&file),
        &file,
        "the run folder cannot be made, at PATH: found a file of that name; choose another folder with --run",
    );
    // A folder with only checkpoints may be all that is left of a run: it counts.
    let rest = folder.path().join("rest");
    fs::create_dir_all(rest.join("checkpoints/step-00000500")).unwrap();
    assert_eq!(RunFolder::create(&rest).unwrap_err().kind, Kind::RunFolder);
}

#[test]
fn is_opened_only_if_it_holds_a_run() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "").unwrap();
    let cases = [
        (folder.path().join("nowhere"), "nothing there"),
        (file, "a file"),
        (folder.path().to_owned(), "a folder without config.toml"),
    ];
    for (path, found) in cases {
        let expected = format!(
            "not the folder of a run, at PATH: found {found}; give a folder written by `normfree train`"
        );
        refused(RunFolder::open(&path), &path, &expected);
        refused(RunFolder::read(&path), &path, &expected);
    }
    assert_eq!(contents(folder.path()).len(), 1, "looking has left something");
}

#[test]
fn can_be_looked_at_while_it_trains() {
    let (_folder, run) = new_run();
    let look = RunFolder::read(run.path()).unwrap();
    assert!(!look.is_locked());
    assert!(Checkpoint::latest(&look).unwrap().is_none());
}

#[test]
fn is_locked_once() {
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    let expected = format!(
        "the run folder is in use, at PATH: found process {} training in it; wait for it to end, or choose another \
         folder with --run",
        std::process::id()
    );
    refused(RunFolder::open(&path), &path, &expected);
    drop(run);
    RunFolder::open(&path).unwrap();
}

/// As the jobs of a study need it: the lock is one against other threads too.
#[test]
fn one_of_several_threads_gets_it() {
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    drop(run);
    let start = std::sync::Barrier::new(4);
    let open = || {
        start.wait();
        RunFolder::open(&path)
    };
    let opened = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4).map(|_| scope.spawn(open)).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
    });
    let (held, refused): (Vec<_>, Vec<_>) = opened.into_iter().partition(Result::is_ok);
    assert_eq!((held.len(), refused.len()), (1, 3));
    assert!(refused.iter().flat_map(|result| result.as_ref().err()).all(RunFolder::is_in_use));
}

#[test]
#[ignore = "the process that holds the lock in the test below"]
fn holder() {
    if let Some(path) = child_folder() {
        let _run = RunFolder::open(&path).unwrap();
        println!("locked");
        std::thread::sleep(Duration::from_secs(60));
    }
}

#[test]
fn is_locked_against_other_processes_until_they_end() {
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    drop(run);
    let mut holder = child("run_folder::holder", &path).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(holder.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("locked")), "it ended without the lock");
    let expected = format!(
        "the run folder is in use, at PATH: found process {} training in it; wait for it to end, or choose another \
         folder with --run",
        holder.id()
    );
    refused(RunFolder::open(&path), &path, &expected);
    holder.kill().unwrap();
    holder.wait().unwrap();
    // The lock's file still exists; the lock does not.
    assert!(path.join("run.lock").exists());
    RunFolder::open(&path).unwrap();
}

#[test]
fn log_continues_as_if_it_had_never_stopped() {
    let (_folder, run) = new_run();
    let path = run.metrics();
    let record = |step: u64| json!({ "kind": "step", "step": step, "loss": 1.0 / (step as f64 + 1.0) });
    let mut log = MetricsLog::open(&path, 0).unwrap();
    for step in 0..100 {
        log.append(&record(step)).unwrap();
    }
    log.sync().unwrap();
    let whole = fs::read(&path).unwrap();
    assert_eq!(whole.iter().filter(|byte| **byte == b'\n').count(), 100);
    let line: serde_json::Value =
        serde_json::from_slice(whole.split(|b| *b == b'\n').nth(7).unwrap()).unwrap();
    assert_eq!(line, record(7));

    let mut log = MetricsLog::open(&path, 0).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().len(), 0, "a run from the start has a log from the start");
    for step in 0..60 {
        log.append(&record(step)).unwrap();
    }
    let at_checkpoint = log.sync().unwrap();
    assert_eq!(at_checkpoint, fs::metadata(&path).unwrap().len());
    for step in 60..63 {
        log.append(&json!({ "step": step, "of": "the part that is lost" })).unwrap();
    }
    log.flush().unwrap();
    drop(log);
    fs::write(&path, [fs::read(&path).unwrap().as_slice(), b"{\"step\":6"].concat()).unwrap();

    let mut log = MetricsLog::open(&path, at_checkpoint).unwrap();
    for step in 60..100 {
        log.append(&record(step)).unwrap();
    }
    assert_eq!(log.sync().unwrap(), whole.len() as u64);
    assert!(fs::read(&path).unwrap() == whole);
}

#[test]
fn log_can_be_read_while_it_is_written() {
    let (_folder, run) = new_run();
    let mut log = MetricsLog::open(&run.metrics(), 0).unwrap();
    log.append(&1).unwrap();
    std::thread::sleep(Duration::from_millis(1100));
    log.append(&2).unwrap();
    assert_eq!(fs::read_to_string(run.metrics()).unwrap(), "1\n2\n");
}

#[test]
fn a_changed_log_is_not_continued() {
    let (_folder, run) = new_run();
    let path = run.metrics();
    let cases = [
        (None, 20, "no file, where the checkpoint expects 20 bytes"),
        (Some("{\"step\":0}\n"), 20, "11 bytes, where the checkpoint expects 20"),
        (
            Some("{\"step\":0}\n{\"step\":1}\n"),
            20,
            "no end of a line at byte 20, where the checkpoint expects one",
        ),
    ];
    for (text, bytes, found) in cases {
        if let Some(text) = text {
            fs::write(&path, text).unwrap();
        }
        let fault = MetricsLog::open(&path, bytes).unwrap_err();
        assert_eq!(fault.kind, Kind::RunFolder);
        assert_eq!(
            fault.to_string(),
            format!(
                "the run's log has changed since its checkpoint, at {}: found {found}; restore it, or start a new run with \
                 train.init_from = the checkpoint's model.safetensors",
                path.display()
            )
        );
        assert_eq!(fs::read_to_string(&path).ok().as_deref(), text);
    }
}

#[test]
fn files_are_replaced_completely_or_not_at_all() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.toml");
    files::write_atomic(&path, b"old").unwrap();
    files::write_atomic(&path, b"older").unwrap();
    let fault = files::replace_with(&path, |out| {
        use std::io::Write;
        out.write_all(&[0; 1 << 20]).unwrap();
        Err(Fault::new(Kind::Device, "the device is lost"))
    });
    assert_eq!(fault.unwrap_err().to_string(), "the device is lost");
    assert_eq!(contents(folder.path()).into_values().collect::<Vec<_>>(), [b"older"]);

    let nowhere = folder.path().join("nowhere/config.toml");
    let fault = files::write_atomic(&nowhere, b"").unwrap_err();
    assert_eq!(fault.kind, Kind::Io);
    assert!(
        fault.to_string().starts_with(&format!("cannot write the file, at {}", nowhere.display())),
        "{fault}"
    );
}

/// A file for the user has the permissions that the user's umask gives, and is not private as a temporary file is.
#[cfg(unix)]
#[test]
fn files_have_the_mode_any_new_file_has() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let mode = |name: &str| fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
    files::write_atomic(&folder.path().join("ours"), b"").unwrap();
    fs::write(folder.path().join("plain"), b"").unwrap();
    assert_eq!(mode("ours"), mode("plain"));
}
