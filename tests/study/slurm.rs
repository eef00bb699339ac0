//! The script for a cluster, run by a stand-in for `sbatch`.

use super::{FOLDERS, place};
use crate::cli::{assert_same, shown};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Runs the tasks of an array one after another. A task that asks for it goes back to the end of the queue. The first attempt of
/// task 2 is told that its time ends as soon as its run has written a checkpoint.
const SBATCH: &str = r#"#!/bin/bash
set -u
script=$1
last=$(sed -n 's/^#SBATCH --array=1-//p' "$script")
export SLURM_ARRAY_JOB_ID=7 SLURM_LOCALID=0
for task in $(seq "$last"); do echo "$task" >> queue; done
told=no
while [ -s queue ]; do
    task=$(head -1 queue)
    sed -i 1d queue
    SLURM_ARRAY_TASK_ID=$task bash "$script" >> "task-$task.log" 2>&1 &
    batch=$!
    if [ "$task" = 2 ] && [ $told = no ]; then
        told=yes
        until ls runs/study/tiny/r-seed1/checkpoints/step-* > /dev/null 2>&1; do sleep 0.02; done
        kill -USR1 "$batch"
    fi
    wait "$batch" || echo "task $task: $?" >> failures
done
"#;

/// `scontrol requeue JOB_TASK`.
const SCONTROL: &str = r#"#!/bin/bash
echo "$*" >> requeued
echo "${2#*_}" >> queue
"#;

#[test]
fn an_array_of_tasks_trains_the_study() {
    let place = place();
    // Long enough that the notice comes before the end.
    let text = super::STUDY
        .replace("steps = 12", "steps = 400")
        .replace("checkpoint_every = 5", "checkpoint_every = 10");
    fs::write(place.path("tiny.toml"), text).unwrap();
    place.succeeds(&["study", "tiny.toml", "--quiet", "--out", "alone"]);
    for (name, text) in [("sbatch", SBATCH), ("scontrol", SCONTROL)] {
        fs::write(place.path(name), text).unwrap();
        fs::set_permissions(place.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let told = place.succeeds(&["study", "tiny.toml", "--device", "cpu", "--slurm", "tiny.sh"]);
    assert!(told.contains("5 tasks, a run each") && !place.path("runs").exists(), "{told}");
    let script = fs::read_to_string(place.path("tiny.sh")).unwrap();
    assert!(
        script.contains("#SBATCH --array=1-5\n") && script.contains("--device cpu --plain &\n"),
        "{script}"
    );

    let mut sbatch = Command::new(place.path("sbatch"));
    let path = format!("{}:{}", place.path("").display(), std::env::var("PATH").unwrap());
    sbatch.arg("tiny.sh").current_dir(place.path("")).env("PATH", path);
    // The environment of every command of this place.
    for (key, value) in place.command(&[]).get_envs() {
        if let Some(value) = value.filter(|_| key != "PATH") {
            sbatch.env(key, value);
        }
    }
    let output = sbatch.output().unwrap();
    assert!(output.status.success(), "{}", shown(&output));
    let failures = fs::read_to_string(place.path("failures")).unwrap_or_default();
    assert_eq!(failures, "", "{}", fs::read_to_string(place.path("task-2.log")).unwrap_or_default());
    assert_eq!(fs::read_to_string(place.path("requeued")).unwrap(), "requeue 7_2\n");
    for name in FOLDERS {
        assert_same(&place.path("alone").join(name), &place.path("runs/study/tiny").join(name));
    }
    // Without a device the script takes that of the local rank, or the one that the environment names.
    place.succeeds(&["study", "tiny.toml", "--slurm", "other.sh"]);
    let script = fs::read_to_string(place.path("other.sh")).unwrap();
    assert!(script.contains("--device \"${NORMFREE_DEVICE:-${SLURM_LOCALID:-0}}\""), "{script}");
}
