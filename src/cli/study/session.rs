//! One run of a study after another, on one device.

use super::super::held::Held;
use super::super::progress::TrainProgress;
use super::super::train::{drive, inside_out, open, with_command};
use super::super::{Global, Kernels, stop};
use super::ended::Outcome;
use super::tasks::Task;
use crate::cache;
use crate::fault::{Fault, Kind, Result};
use crate::shell;
use crate::study::{Run, State};
use crate::train::engine::Blueprint;
use crate::train::past::settle;
use crate::train::run_folder::RunFolder;
use crate::train::trainer::Trainer;
use std::collections::BTreeSet;
use std::time::Duration;

/// State shared by the runs of one job.
pub(super) struct Session<'a> {
    progress: TrainProgress,
    held: Held<'a>,
    kernels: &'a Kernels,
    /// Whether other jobs train at the same time, so that every line has to name its run.
    beside: bool,
    /// Shapes whose kernels were searched again for an earlier run.
    searched: BTreeSet<String>,
}

impl<'a> Session<'a> {
    /// Does not open the device yet.
    pub fn new(progress: TrainProgress, kernels: &'a Kernels, global: &'a Global, beside: bool) -> Self {
        Self { progress, held: Held::new(global), kernels, beside, searched: BTreeSet::new() }
    }

    /// Trains one run to its end, wherever it starts, and says how it ended unless that is as it should.
    pub fn train(&mut self, task: &Task) -> Outcome {
        let outcome = self.outcome(task);
        match &outcome {
            Outcome::InUse(fault) => {
                self.progress.say(&format!("{}  left to another process: {fault}", task.label));
            }
            Outcome::Failed(fault) => self.progress.say(&format!("{}  failed: {fault}", task.label)),
            Outcome::Done | Outcome::Stopped(_) | Outcome::NotBegun(_) => {}
        }
        outcome
    }

    fn outcome(&mut self, task: &Task) -> Outcome {
        if let Err(fault) = stop::between_runs() {
            return Outcome::NotBegun(fault);
        }
        let config = &task.run.config;
        let all = config.train.steps as f64 * task.work;
        // Opening a run may print notes, so the view is down meanwhile.
        self.progress.leave();
        let opened = self.open(task);
        let Ok(Some(mut trainer)) = opened else {
            // It failed, or another process finished it meanwhile.
            self.progress.leave_out(all - task.counted);
            return match opened {
                Err(fault) if fault.kind == Kind::Interrupted => Outcome::NotBegun(fault),
                Err(fault) if RunFolder::is_in_use(&fault) => Outcome::InUse(fault),
                Err(fault) => Outcome::Failed(fault),
                Ok(_) => Outcome::Done,
            };
        };
        let past = trainer.step() as f64 * task.work;
        self.progress.leave_out(past - task.counted);
        self.progress.begin(&task.label, config, trainer.step(), task.work);
        let trained = drive(&mut trainer, &mut self.progress);
        self.progress.leave_out(all - trainer.step() as f64 * task.work);
        self.held.give_back(trainer, &trained);
        match trained {
            Ok(()) => Outcome::Done,
            Err(fault) if fault.kind == Kind::Interrupted => Outcome::Stopped(with_command(fault)),
            Err(fault) => Outcome::Failed(reworded(fault)),
        }
    }

    /// Ends the display. Returns the tokens that all jobs have trained on by now, and the time since they began.
    pub fn end(mut self) -> (u64, Duration) {
        self.progress.leave();
        self.progress.trained()
    }

    /// Starts or resumes a run; `None` if nothing is left to do.
    fn open(&mut self, task: &Task) -> Result<Option<Trainer>> {
        let Task { run, path, .. } = task;
        // Resuming reads a checkpoint anyway; only a run that nobody opens again is read here.
        let state = match State::at_a_glance(run, path) {
            Ok(State::Done) => State::of_content(run, path),
            glanced => glanced,
        };
        let state = state.or_else(|fault| match RunFolder::holder(path)? {
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
            Err(_) if !resume && RunFolder::is_at(path) => return self.open(task),
            folder => folder.map_err(inside_out)?,
        };
        let kernels = self.kernels_for(run);
        let device = self.held.take();
        let label = self.beside.then(|| task.label.clone());
        let global = Global { label, ..self.held.global().clone() };
        let kernels_of_new = (!resume).then_some(&kernels);
        let trainer = open(&run.config, folder, kernels_of_new, device, (&global, shell::same_command()))?;
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
        Kind::NonFinite => fault.remedy(
            "delete its folder and give it a lower train.learning_rate, or train.on_nonfinite = \"record\", in the \
             study",
        ),
        _ => fault,
    }
}
