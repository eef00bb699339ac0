//! What killed processes leave is removed by the next call that owns the place; optional files never end a run.

use super::{Place, assert_same, sets, shown};
use crate::checkpoint::{child, child_folder, new_run};
use normfree::files;
use normfree::train::run_folder::RunFolder;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::Duration;

#[test]
#[ignore = "the process that the test below kills"]
fn writer() {
    if let Some(folder) = child_folder() {
        files::replace_with(&folder.join("steps.parquet"), |_| {
            println!("writing");
            std::thread::sleep(Duration::from_secs(60));
            Ok(())
        })
        .unwrap();
    }
}

#[test]
fn a_file_under_way_is_spared_until_its_writer_is_dead() {
    let folder = tempfile::tempdir().unwrap();
    let count = || fs::read_dir(folder.path()).unwrap().count();
    let mut writer = child("cli::leftovers::writer", folder.path()).stdout(Stdio::piped()).spawn().unwrap();
    let said = BufReader::new(writer.stdout.take().unwrap()).lines();
    assert!(said.map(Result::unwrap).any(|line| line.ends_with("writing")), "it ended without writing");
    files::remove_leftovers(folder.path(), |name| name == "steps.parquet");
    assert_eq!(count(), 1);
    files::write_atomic(&folder.path().join("steps.parquet"), b"of another process").unwrap();
    assert_eq!(count(), 2);
    writer.kill().unwrap();
    writer.wait().unwrap();
    files::remove_leftovers(folder.path(), |name| name == "evals.parquet");
    assert_eq!(count(), 2, "what is not asked for stays");
    files::write_atomic(&folder.path().join("steps.parquet"), b"whole").unwrap();
    assert_eq!(count(), 1);
}

/// Each writer also removes leftovers, and must not take a file that another has created but not yet locked for one.
#[test]
fn writers_of_one_file_do_not_remove_each_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("study.json");
    std::thread::scope(|scope| {
        for content in [b"from one", b"from two", b"from six", b"from ten"] {
            let path = &path;
            scope.spawn(move || {
                for _ in 0..200 {
                    files::write_atomic(path, content).unwrap();
                }
            });
        }
    });
    assert!(fs::read(&path).unwrap().starts_with(b"from "));
    assert_eq!(files::names_in(folder.path()).unwrap(), ["study.json"]);
}

#[test]
fn leftovers_go_with_the_next_call() {
    let place = Place::with_data();
    place.succeeds(&["train", "tiny.toml", "--run", "r", "--set", "train.steps=2"]);
    let left = |folder: &str, name: &str| {
        fs::create_dir_all(place.path(folder)).unwrap();
        let path = place.path(folder).join(format!(".{name}.aB3xY9.writing"));
        fs::write(&path, "half").unwrap();
        path
    };
    let gone = [
        (left("tables", "steps.parquet"), &["export", "r", "--parquet", "tables"][..]),
        (left("figures", "heatmap_difference.png"), &["plot", "r", "--out", "figures"]),
        (left("figures", "table.tex"), &["plot", "r", "--out", "figures"]),
        (left("pages", "page.html"), &["report", "r", "-o", "pages/page.html"]),
        (left("r", "quarters.svg"), &["train", "--resume", "--run", "r"]),
    ];
    let somebodys = place.path("figures/.thesis.docx.aB3xY9.writing");
    fs::write(&somebodys, "text").unwrap();
    for (path, call) in gone {
        place.succeeds(call);
        assert!(!path.exists(), "{} stays after {call:?}", path.display());
    }
    assert!(somebodys.exists());
}

/// Opening a run does not delete what `plot` is writing there.
#[test]
fn a_run_folder_spares_files_being_written() {
    let (_folder, run) = new_run();
    let path = run.path().to_owned();
    drop(run);
    files::replace_with(&path.join("loss.png"), |_| RunFolder::open(&path).map(drop)).unwrap();
    assert!(path.join("loss.png").is_file());
}

#[test]
fn an_event_file_that_cannot_be_written_does_not_end_the_run() {
    let place = Place::with_data();
    for run in ["whole", "r"] {
        let keep = sets(&["train.keep_checkpoints=3"]);
        place.succeeds(&[&["train", "tiny.toml", "--run", run][..], &keep].concat());
    }
    fs::remove_dir_all(place.path("r/checkpoints/step-00000012")).unwrap();
    // The last possible name is taken.
    let last = format!("r/events.out.tfevents.{0}.{0}", u64::MAX);
    fs::create_dir(place.path(&last)).unwrap();
    let output = place.command(&["train", "--resume", "--run", "r"]).output().unwrap();
    let told = shown(&output);
    assert!(output.status.success(), "{told}");
    assert_eq!(told.matches("no more event files for TensorBoard").count(), 1, "{told}");
    assert_same(&place.path("whole"), &place.path("r"));
}
