//! `normfree study`.

mod data;
mod dry_run;

use super::held::Held;
use super::progress::{Display, TrainProgress};
use super::train::{drive, inside_out, open, with_command};
use super::{Global, Kernels, say, stop};
use crate::cache;
use crate::fault::{Fault, Kind, Result};
use crate::ops::Traits;
use crate::shell;
use crate::study::{Cost, Grid, Run, Shard, State};
use crate::train::engine::Blueprint;
use crate::train::past::settle;
use crate::train::run_folder::RunFolder;
use crate::train::trainer::Trainer;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

const AFTER_HELP: &str = "\
STUDY is a TOML file: [study] names it, [model], [data], [train] and [observe]
hold for all runs, and each [[configuration]] says what it changes, as in
model.norm = \"none\", and with how many seeds it is trained; [[size]] entries
multiply them. configs/study/ has three examples.
Each run gets its own folder, as `normfree train` writes it. Called again, it
trains what is missing and resumes what stopped, bit for bit. A run that fails
does not stop the others: failures are listed at the end and set the exit code.
A run that another process is training is skipped, so several processes can work
on one study; --shard divides the runs beforehand.

Examples:
  normfree study configs/study/small.toml --dry-run
  normfree study configs/study/small.toml
  normfree study configs/study/small.toml --shard 1/4
  normfree study configs/study/small.toml --set train.steps=20 --out /tmp/look";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Study, a TOML file
    study: PathBuf,
    /// Set one key in every run, as in train.steps=20; may be repeated, the last one wins
    #[arg(long, value_name = "KEY=VALUE")]
    set: Vec<String>,
    /// Folder of the runs [default: the one in the study, else runs/study/ and its name]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Train only the I-th of N shares of the runs
    #[arg(long, value_name = "I/N")]
    shard: Option<Shard>,
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

pub(super) fn run(arguments: &Arguments, global: &Global) -> Result<()> {
    let mut grid = Grid::load(&arguments.study, &arguments.set)?;
    if let Some(out) = &arguments.out {
        grid.out.clone_from(out);
    }
    let shard = arguments.shard.unwrap_or(Shard::WHOLE);
    let runs: Vec<&Run> =
        grid.runs.iter().enumerate().filter(|(place, _)| shard.holds(*place)).map(|(_, run)| run).collect();
    if arguments.dry_run {
        return dry_run::print(&grid, &runs, arguments.measure, global);
    }
    if arguments.resume && !grid.is_begun() {
        return Err(stop::nothing_to_resume(&grid.out));
    }
    data::make_ready(&grid, &runs, global)?;
    grid.write_record()?;
    let ended = train(&grid, &runs, arguments, global)?;
    ended.tell(&grid, &arguments.study, shard, global)
}

/// How the runs of one call ended.
#[derive(Default)]
struct Ended {
    done: usize,
    /// Left to the process that is using it.
    in_use: Vec<String>,
    failed: Vec<(String, Fault)>,
}

/// One run to be trained.
struct Job<'a> {
    run: &'a Run,
    path: PathBuf,
    /// The label in the display: its place among all and its folder.
    label: String,
    /// The work of one step in the display, and the work counted as done.
    work: f64,
    counted: f64,
}

/// Trains the remaining runs one by one.
fn train<'a>(grid: &Grid, runs: &[&'a Run], arguments: &Arguments, global: &Global) -> Result<Ended> {
    let work = work(runs);
    let job = |(place, run): (usize, &&'a Run)| {
        let path = grid.path(run);
        let work = work[&run.configuration];
        // A bad folder is reported when its run's turn comes.
        let state = State::of_content(run, &path).unwrap_or(State::Missing);
        let counted = state.steps_done(run.config.train.steps) as f64 * work;
        let label = format!("{}/{} {}", place + 1, runs.len(), run.folder.display());
        Job { run, path, label, work, counted }
    };
    let jobs: Vec<Job> = runs.iter().enumerate().map(job).collect();
    let total = jobs.iter().map(|job| job.run.config.train.steps as f64 * job.work).sum();
    let counted = jobs.iter().map(|job| job.counted).sum();
    let shown = (global.quiet, arguments.display);
    let title = grid.out.display().to_string();
    let mut session = Session {
        progress: TrainProgress::new(shown, &title, (total, counted)),
        held: Held::new(global),
        kernels: &arguments.kernels,
        searched: BTreeSet::new(),
    };
    let mut ended = Ended::default();
    for job in &jobs {
        let name = job.run.folder.display().to_string();
        match session.train(job) {
            Ok(()) => ended.done += 1,
            Err(fault) if fault.kind == Kind::Interrupted => {
                session.progress.leave();
                return Err(fault);
            }
            Err(fault) if RunFolder::is_in_use(&fault) => {
                session.progress.say(&format!("{}  left to another process: {fault}", job.label));
                ended.in_use.push(name);
            }
            Err(fault) => {
                session.progress.say(&format!("{}  failed: {fault}", job.label));
                ended.failed.push((name, fault));
            }
        }
    }
    session.progress.leave();
    Ok(ended)
}

/// Operations of a step of each configuration: the work of a step in the display.
fn work(runs: &[&Run]) -> BTreeMap<String, f64> {
    let mut work = BTreeMap::new();
    for run in runs {
        // Only ratios matter, and those are the same on every device.
        let cost = || Cost::new(&run.config, &Traits::floor(), 0).step();
        work.entry(run.configuration.clone()).or_insert_with(cost);
    }
    work
}

/// State shared by the runs.
struct Session<'a> {
    progress: TrainProgress,
    held: Held<'a>,
    kernels: &'a Kernels,
    /// Shapes whose kernels were searched again for an earlier run.
    searched: BTreeSet<String>,
}

impl Session<'_> {
    /// Trains one run to its end, wherever it starts.
    fn train(&mut self, job: &Job) -> Result<()> {
        stop::between_runs()?;
        let config = &job.run.config;
        let all = config.train.steps as f64 * job.work;
        // Opening a run may print notes, so the view is down meanwhile.
        self.progress.leave();
        let opened = self.open(job);
        let Ok(Some(mut trainer)) = opened else {
            // It failed, or another process finished it meanwhile.
            self.progress.leave_out(all - job.counted);
            return opened.map(|_| ());
        };
        let past = trainer.step() as f64 * job.work;
        self.progress.leave_out(past - job.counted);
        self.progress.begin(&job.label, config, trainer.step(), job.work);
        let trained = drive(&mut trainer, &mut self.progress);
        self.progress.leave_out(all - trainer.step() as f64 * job.work);
        self.held.give_back(trainer, &trained);
        trained.map_err(reworded)
    }

    /// Starts or resumes a run; `None` if nothing is left to do.
    fn open(&mut self, job: &Job) -> Result<Option<Trainer>> {
        let Job { run, path, .. } = job;
        let state = State::of_content(run, path).or_else(|fault| match RunFolder::holder(path)? {
            // The training process replaces checkpoints while they are read.
            Some(holder) => Ok(State::InUse(holder)),
            None => Err(fault),
        })?;
        let resume = match state {
            State::Done => {
                settle(path, &run.config)?;
                return Ok(None);
            }
            State::Different(differences) => {
                return Err(Fault::new(Kind::RunFolder, "the folder holds a run with another configuration")
                    .at(path.display())
                    .found(differences.join(", "))
                    .remedy("delete it to train it again, or choose another folder with --out"));
            }
            State::Missing => false,
            State::Stopped(_) | State::InUse(_) => true,
        };
        let opened = if resume { RunFolder::open(path) } else { RunFolder::create(path) };
        let folder = match opened {
            // Another process was a moment quicker.
            Err(_) if !resume && RunFolder::is_at(path) => return self.open(job),
            folder => folder.map_err(inside_out)?,
        };
        let kernels = self.kernels_for(run);
        let device = self.held.take();
        let trainer = open(
            &run.config,
            folder,
            (!resume).then_some(&kernels),
            device,
            (self.held.global(), shell::same_command()),
        )?;
        if kernels.retune {
            let engine = trainer.engine();
            self.searched.extend(engine.blueprint.tuning_keys(engine.device.traits()));
        }
        Ok(Some(trainer))
    }

    /// With `--retune`, each shape is searched once instead of for every run, if the results can be cached.
    fn kernels_for(&self, run: &Run) -> Kernels {
        let known = || {
            let traits = self.held.device()?.traits();
            let keys = Blueprint::new(&run.config, traits).tuning_keys(traits);
            Some(cache::folder().is_some() && keys.is_subset(&self.searched))
        };
        Kernels { retune: self.kernels.retune && known() != Some(true), ..self.kernels.clone() }
    }
}

/// Turns a run's fault into one of the study: the way to resume is to call the study again, which is printed once for
/// all failed runs.
fn reworded(fault: Fault) -> Fault {
    match fault.kind {
        Kind::Interrupted => with_command(fault),
        Kind::NonFinite => fault.remedy(
            "delete its folder and give it a lower train.learning_rate, or train.on_nonfinite = \"record\", in the \
             study",
        ),
        _ => fault,
    }
}

impl Ended {
    /// The final message and the exit code: that of the first failure.
    fn tell(self, grid: &Grid, study: &Path, shard: Shard, global: &Global) -> Result<()> {
        let all = self.done + self.in_use.len() + self.failed.len();
        let share = if shard == Shard::WHOLE { String::new() } else { format!(" of shard {shard}") };
        if !self.in_use.is_empty() {
            global.note(format!("left to other processes: {}", self.in_use.join(", ")));
        }
        say(format!("{}: {} of {all} runs{share} done", grid.out.display(), self.done))?;
        if self.done > 0 {
            say(format!("draw it with `normfree report {0} -o {0}/report.html`", grid.out.display()))?;
        }
        let Some((_, first)) = self.failed.first() else { return Ok(()) };
        let list: Vec<String> =
            self.failed.iter().map(|(name, fault)| format!("\n  {name}: {fault}")).collect();
        Err(Fault::new(first.kind, format!("{} of {all} runs failed", self.failed.len()))
            .at(study.display())
            .found(list.concat() + "\n")
            .remedy(format!("continue with: {}", shell::same_command())))
    }
}
