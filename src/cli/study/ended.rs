//! How the runs of one call ended, and what is said of them.

use super::super::progress::in_all;
use super::super::{Global, counted, say, short, terminal};
use crate::fault::{Fault, Kind, Result};
use crate::shell::{self, operand};
use crate::study::{Grid, Shard};
use std::path::Path;
use std::time::Duration;

/// How one run ended.
pub(super) enum Outcome {
    Done,
    /// Left to the process that is using it.
    InUse(Fault),
    Failed(Fault),
    /// A stop was requested: it wrote a checkpoint.
    Stopped(Fault),
    /// A stop was requested before it began.
    NotBegun(Fault),
}

/// How all runs ended, in the order of the study.
#[derive(Default)]
pub(super) struct Ended {
    done: usize,
    in_use: Vec<String>,
    failed: Vec<(String, Fault)>,
    stopped: Vec<(String, Fault)>,
    not_begun: Vec<Fault>,
    /// New tokens of all runs, and the time that they took.
    pub trained: (u64, Duration),
}

impl Ended {
    /// Adds a run.
    pub fn add(&mut self, name: String, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.done += 1,
            Outcome::InUse(_) => self.in_use.push(name),
            Outcome::Failed(fault) => self.failed.push((name, fault)),
            Outcome::Stopped(fault) => self.stopped.push((name, fault)),
            Outcome::NotBegun(fault) => self.not_begun.push(fault),
        }
    }

    /// The fault of a study that was asked to stop.
    fn interruption(&mut self) -> Option<Fault> {
        if self.stopped.len() > 1 {
            list(&self.stopped, |fault| fault.what().to_owned());
            let fault = Fault::new(Kind::Interrupted, format!("interrupted {} runs", self.stopped.len()));
            return Some(fault.remedy(format!("continue with: {}", shell::same_command())));
        }
        self.stopped.pop().map(|(_, fault)| fault).or_else(|| self.not_begun.pop())
    }

    /// The final message and the exit code: that of a stop, else that of the first failure.
    pub fn tell(mut self, grid: &Grid, study: &Path, shard: Shard, global: &Global) -> Result<()> {
        if let Some(fault) = self.interruption() {
            return Err(fault);
        }
        let all = self.done + self.in_use.len() + self.failed.len();
        let share = if shard == Shard::WHOLE { String::new() } else { format!(" of shard {shard}") };
        if !self.in_use.is_empty() {
            global.note(format!("left to other processes: {}", self.in_use.join(", ")));
        }
        say(format!("{}: {} of {}{share} done", grid.out.display(), self.done, counted(all as u64, "run")))?;
        let (tokens, time) = self.trained;
        if tokens > 0 {
            let (count, took) = (counted(tokens, "token"), short(time.as_secs_f64()));
            say(format!("trained on {count} in {took}: {}", in_all(tokens, time)))?;
        }
        if self.done > 0 {
            let [study, page] = [grid.out.clone(), grid.out.join("report.html")].map(|path| operand(&path));
            say(format!("draw it with `normfree report {study} -o {page}`"))?;
        }
        let Some((_, first)) = self.failed.first() else { return Ok(()) };
        list(&self.failed, Fault::to_string);
        let what = format!("{} of {} failed", self.failed.len(), counted(all as u64, "run"));
        let fault = Fault::new(first.kind, what).at(study.display());
        // The same command would be refused again.
        let refused = |fault: &Fault| matches!(fault.kind, Kind::RunFolder | Kind::Config | Kind::Usage);
        Err(match self.failed.iter().all(|(_, fault)| refused(fault)) {
            true => fault,
            false => fault.remedy(format!("continue with: {}", shell::same_command())),
        })
    }
}

/// Prints a line for each run, before the sentence on all of them.
fn list(runs: &[(String, Fault)], told: impl Fn(&Fault) -> String) {
    for (name, fault) in runs {
        terminal::say(&format!("  {name}: {}", told(fault)));
    }
}
