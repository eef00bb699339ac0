//! `normfree study`.

mod data;
mod dry_run;
mod ended;
mod jobs;
mod session;
mod slurm;
mod tasks;
mod workers;

use super::progress::Display;
use super::{Global, Kernels, stop};
use crate::fault::{Fault, Kind, Result};
use crate::study::{Claim, Grid, Run, Shard};
use jobs::Jobs;
use std::path::{Path, PathBuf};
use tasks::tasks;

const AFTER_HELP: &str = "\
STUDY is a TOML file: [study] names it, [model], [data], [train] and [observe]
hold for all runs, and each [[configuration]] says what it changes, as in
model.norm = \"none\", and with how many seeds it is trained; [[size]] entries
multiply them. Vocabulary and positions are those of the data, unless they are
given. configs/study/ has examples. A claim of configs/study/referee/
stands for the runs that decide it, which `normfree referee` judges.
Each run gets its own folder, as `normfree train` writes it. Called again, it
trains what is missing and resumes what stopped, bit for bit. A run that fails
does not stop the others: failures are listed at the end and set the exit code.
A run that another process is training is skipped, so several processes can work
on one study; --shard divides the runs beforehand. On the CPU, --jobs N trains N
runs at a time in one process, each on its share of the threads, with the same
results: small models do not keep many threads busy.

Examples:
  normfree study configs/study/small.toml --dry-run
  normfree study configs/study/small.toml
  normfree study configs/study/small.toml --shard 1/4
  normfree study configs/study/small.toml --device cpu --jobs 4
  normfree study configs/study/paper.toml --slurm paper.sh
  normfree study configs/study/small.toml --set train.steps=20 --out /tmp/look";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Study, or claim of which only the configurations are trained: a TOML file
    study: PathBuf,
    /// Set one key in every run, as in train.steps=20; may be repeated, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the runs [default: the one in the study, else runs/study/ and its name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Of a claim: its configurations at the size of the paper that makes it
    #[arg(long)]
    own_size: bool,
    /// Train only the I-th of N shares of the runs
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
    /// Train N runs at a time on the CPU, each on its share of the threads
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Write a script for `sbatch` that trains the runs as an array, a task each, and train nothing
    #[arg(long, value_name = "FILE", conflicts_with_all = ["dry_run", "resume", "shard", "jobs"])]
    slurm: Option<PathBuf>,
    /// Resume what was started; fail if the folder holds nothing to resume
    #[arg(long, conflicts_with = "dry_run")]
    resume: bool,
    /// Print every run with its parameters, tokens, work, memory, state and time, and train nothing
    #[arg(long, conflicts_with_all = ["no_tune", "retune"])]
    dry_run: bool,
    /// With --dry-run: time some steps of each size for which no run of the study has logged any
    #[arg(long, requires = "dry_run")]
    measure: bool,
    #[command(flatten)]
    kernels: Kernels,
    #[command(flatten)]
    display: Display,
}

/// The study in a file, or that of the claim in it with the claim's configurations chosen.
fn located(file: &Path, own_size: bool, overrides: &[String]) -> Result<Grid> {
    if Claim::is_claim(file)? {
        return Claim::load(file)?.grid(own_size, overrides);
    }
    if own_size {
        return Err(Fault::new(Kind::Usage, "--own-size is about a claim, and this is a study")
            .at(file.display())
            .remedy("leave it out, or give a file of configs/study/referee"));
    }
    Grid::load(file, overrides)
}

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut grid = located(&arguments.study, arguments.own_size, &arguments.set)?;
    if let Some(out) = &arguments.out {
        grid.out.clone_from(out);
    }
    let shard = arguments.shard.unwrap_or(Shard::WHOLE);
    let runs: Vec<&Run> =
        grid.chosen_runs().enumerate().filter(|(place, _)| shard.holds(*place)).map(|(_, run)| run).collect();
    if let Some(script) = &arguments.slurm {
        return slurm::write(script, &grid, runs.len());
    }
    let jobs = Jobs::new(arguments.jobs, global)?;
    if arguments.dry_run {
        return dry_run::print(&grid, &runs, arguments.measure, &jobs);
    }
    if arguments.resume && !grid.is_begun() {
        return Err(stop::nothing_to_resume(&grid.out));
    }
    let tasks = tasks(&grid, &runs);
    let left: Vec<&Run> = tasks.iter().filter(|task| !task.done).map(|task| task.run).collect();
    jobs.check_memory(&left)?;
    let prepared = data::prepare_missing(&grid, &runs, global)?;
    if prepared && grid.guesses_sizes {
        // There are data now, which say their sizes.
        return run(arguments, global);
    }
    data::check(&grid, &runs)?;
    grid.write_record()?;
    let options = jobs.options(left.len());
    let ended = workers::train(&grid.out, &tasks, &options, (&arguments.kernels, arguments.display))?;
    ended.tell(&grid, &arguments.study, shard, global)
}
