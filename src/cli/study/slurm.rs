//! `normfree study --slurm`: a script for a cluster that runs the study, a task for each run.

use super::super::say;
use crate::fault::Result;
use crate::files::write_atomic;
use crate::shell;
use crate::study::Grid;
use std::ffi::OsString;
use std::path::Path;

/// Seconds before the end of its time at which Slurm tells a task, which then writes a checkpoint.
const NOTICE: u32 = 120;

/// Writes the script to `path`. Its tasks run this command line again, each with one of `runs` runs.
pub(super) fn write(path: &Path, grid: &Grid, runs: usize) -> Result<()> {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    let (kept, device) = sorted(&arguments);
    let device = device.unwrap_or_else(|| "\"${NORMFREE_DEVICE:-${SLURM_LOCALID:-0}}\"".to_owned());
    let command = format!("{} {}", shell::program(), kept.join(" "));
    write_atomic(path, script(&grid.name, &command, runs, &device).as_bytes())?;
    say(format!(
        "{}: {runs} tasks, a run each; submit it with `sbatch {}`",
        path.display(),
        shell::operand(path)
    ))
}

/// The arguments that every task takes over, and the device among the others, all quoted.
fn sorted(arguments: &[OsString]) -> (Vec<String>, Option<String>) {
    let (mut kept, mut device) = (Vec::new(), None);
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let text = argument.to_string_lossy();
        let (name, value) = text.split_once('=').map_or((&*text, None), |(name, value)| (name, Some(value)));
        if !["--slurm", "--device"].contains(&name) {
            kept.push(shell::quoted(argument));
            continue;
        }
        let value = value.map(OsString::from).or_else(|| arguments.next().cloned());
        if name == "--device" {
            device = value.map(|device| shell::quoted(&device));
        }
    }
    (kept, device)
}

/// The text of the script.
fn script(name: &str, command: &str, runs: usize, device: &str) -> String {
    format!(
        "\
#!/bin/bash
# A task for each of the {runs} runs of a study. Add what your cluster asks for, such as #SBATCH --partition, --time and --gpus.
# A task that is told that its time ends writes a checkpoint and goes back to the queue, where it resumes.
#SBATCH --job-name={name}
#SBATCH --array=1-{runs}
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --signal=B:USR1@{NOTICE}
#SBATCH --output={name}-%a.log
set -u

# Where tasks of one node see all of its GPUs, each takes that of its local rank.
{command} --shard \"$SLURM_ARRAY_TASK_ID/{runs}\" --device {device} --plain &
run=$!

again() {{
    trap '' USR1
    kill -TERM \"$run\"
    wait \"$run\"
    scontrol requeue \"${{SLURM_ARRAY_JOB_ID}}_$SLURM_ARRAY_TASK_ID\"
    exit 0
}}
trap again USR1
wait \"$run\"
"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_task_s_own_options_are_left_out() {
        let words = [
            "study",
            "s.toml",
            "--slurm",
            "a b",
            "--set",
            "train.steps=2",
            "--device=my card",
            "--slurm=x",
            "-q",
        ];
        let (kept, device) = sorted(&words.map(OsString::from));
        assert_eq!(kept, ["study", "s.toml", "--set", "train.steps=2", "-q"]);
        assert_eq!(device.as_deref(), Some("'my card'"));
    }
}
