//! A folder stands for the runs and the studies inside it, wherever a run's folder is accepted.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use normfree::fault::Kind;
use normfree::report::comparison::Comparison;
use normfree::report::outcome::outcomes;
use normfree::report::stats::Reference;

use super::study::{CONFIGURATIONS, Size, write, write_run};
use crate::cli::Place;

const SIZE: Size = Size { layers: 2, heads: 2, steps: 30, every: 10 };

/// Two studies, two runs beside them, a run that has not begun, and a folder that is not a run.
fn many(folder: &Path) {
    for (index, name) in ["large", "small"].into_iter().enumerate() {
        fs::create_dir_all(folder.join("studies").join(name)).unwrap();
        write(&folder.join("studies").join(name), name, &CONFIGURATIONS[..3], &[1, 2][..=index], SIZE);
    }
    for (name, made) in ["alone", "beside"].into_iter().zip(&CONFIGURATIONS[..2]) {
        write_run(&folder.join(name), made, 7, SIZE);
        fs::create_dir_all(folder.join(name).join("checkpoints/step-10")).unwrap();
    }
    write_run(&folder.join("waiting"), &CONFIGURATIONS[0], 1, SIZE);
    fs::remove_file(folder.join("waiting/metrics.jsonl")).unwrap();
    write_run(&folder.join(".hidden"), &CONFIGURATIONS[0], 1, SIZE);
    fs::create_dir_all(folder.join("data/empty")).unwrap();
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(folder, folder.join("data/loop")).unwrap();
        std::os::unix::fs::symlink(folder.join("alone"), folder.join("data/link")).unwrap();
    }
}

#[test]
fn a_folder_stands_for_all_runs_and_studies_inside() {
    let folder = tempfile::tempdir().unwrap();
    many(folder.path());
    let all = Comparison::load(&[folder.path()]).unwrap();
    let found: BTreeSet<&Path> =
        all.runs.iter().map(|run| run.dir.strip_prefix(folder.path()).unwrap()).collect();
    assert_eq!((all.runs.len(), found.len()), (3 + 6 + 2, 11), "{found:?}");
    assert!(found.contains(Path::new("studies/small/sm_g-seed2")), "{found:?}");
    assert_eq!(all.missing, ["waiting: not started"]);
    assert_eq!(all.title, folder.path().file_name().unwrap().to_str().unwrap());
    // All names differ, and each study is compared with its own baseline.
    let names: BTreeSet<&String> = all.groups.iter().map(|group| &group.name).collect();
    assert_eq!(names.len(), all.groups.len(), "{names:?}");
    let rows = outcomes(&all, Reference::ObservedMax).unwrap().rows;
    let against = |name: &str| rows.iter().find(|row| row.name == name).unwrap().against.clone();
    assert_eq!(against("SM+R (small)").as_deref(), Some("SM+LN+G (small)"));
    assert_eq!(against("SM+R (large)").as_deref(), Some("SM+LN+G (large)"));
    // A folder with only studies, one above a study, and a study itself.
    let counts = ["studies", "studies/small"]
        .map(|name| Comparison::load(&[folder.path().join(name)]).unwrap().runs.len());
    assert_eq!(counts, [9, 6]);
    // The same run twice, once through its parent folder.
    let twice = Comparison::load(&[folder.path().to_owned(), folder.path().join("alone")]).unwrap_err();
    assert_eq!(twice.kind, Kind::Usage);
    // Nothing inside, and nothing begun inside.
    for name in ["data/empty", "waiting"] {
        assert_eq!(
            Comparison::load(&[folder.path().join(name)]).unwrap_err().kind,
            Kind::RunFolder,
            "{name}"
        );
    }
    let begun = folder.path().join("later");
    fs::create_dir(&begun).unwrap();
    fs::rename(folder.path().join("waiting"), begun.join("waiting")).unwrap();
    let fault = Comparison::load(&[begun]).unwrap_err();
    assert!(
        fault.kind == Kind::RunFolder && fault.to_string().contains("no run here has started"),
        "{fault}"
    );
}

#[test]
fn every_command_that_draws_takes_a_folder_of_runs() {
    let place = Place::new();
    many(&place.path("runs"));
    let told = place.succeeds(&["plot", "runs"]);
    assert!(told.lines().any(|line| line == "runs/heatmap.svg"), "{told}");
    assert_eq!(place.succeeds(&["report", "runs"]).lines().last(), Some("runs/report.html"));
    let told = place.succeeds(&["export", "runs", "--parquet", "tables"]);
    assert_eq!(told.lines().count(), 19, "{told}");
    let noted = place.command(&["plot", "runs"]).output().unwrap().stderr;
    assert!(String::from_utf8_lossy(&noted).contains("left out: waiting: not started"));
    place.fails(
        &["plot", "runs/data/empty"],
        6,
        &["neither a run folder nor a folder of runs", "runs/data/empty"],
    );
}
