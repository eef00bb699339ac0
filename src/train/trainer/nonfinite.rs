//! Handles a broken step: finds where it began, and continues or ends the run.

use super::{Event, Trainer};
use crate::config::OnNonfinite;
use crate::fault::{Fault, Kind, Result};
use crate::observe::record::{Nonfinite, Record, nth};
use crate::shell;
use crate::train::checkpoint::{Checkpoint, newest_finite};
use crate::train::engine::StepReading;
use crate::train::trace;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

/// How many skipped steps in a row are worth a note.
const MANY_SKIPPED: u64 = 20;

impl Trainer {
    /// A step broke: its update and all later ones were held back. Finds the origin, then does as configured.
    pub(super) fn answer(
        &mut self,
        reading: &StepReading,
        stop: &AtomicBool,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let step = reading.step;
        // Steps submitted since then saw a closed gate; they are discarded and run again.
        let submitted_since = self.step - step;
        while self.engine.in_flight() > 0 {
            self.engine.take(true)?;
        }
        self.step = step;
        self.updates -= submitted_since;
        self.fill(step);
        let seconds = self.seconds_since_last();
        let origin = trace::origin(&self.engine, step, &self.scratch)?
            .unwrap_or_else(|| trace::overflowing_norm(step, f64::from(reading.grad_norm)));
        watch(Event::Nonfinite(&origin));
        self.journal.append(&Record::Nonfinite(origin.clone()))?;
        match self.config.train.on_nonfinite {
            OnNonfinite::Record => {
                if !std::mem::replace(&mut self.recording, true) {
                    watch(Event::Note(self.kept_for_later()?));
                }
                self.engine.set_record(true);
            }
            // A broken weight breaks every later step, so skipping does not help.
            OnNonfinite::Skip if origin.phase != trace::PARAMETERS => {
                self.write_down(reading.clone(), seconds, watch)?;
                self.engine.set_record(false);
                self.step += 1;
                self.count_skipped(watch);
                // No step is under way that could be halted.
                self.keep_cadence(stop, watch)?;
            }
            OnNonfinite::Stop | OnNonfinite::Skip => {
                self.write_down(reading.clone(), seconds, watch)?;
                self.journal.sync()?;
                return Err(self.stopped_at(&origin));
            }
        }
        self.clock = Instant::now();
        Ok(())
    }

    /// Counts one more consecutive skipped step, and reports it when they become many.
    fn count_skipped(&mut self, watch: &mut dyn FnMut(Event)) {
        self.skipped += 1;
        if self.skipped.is_multiple_of(MANY_SKIPPED) && (self.skipped / MANY_SKIPPED).is_power_of_two() {
            watch(Event::Note(format!(
                "{} steps in a row were skipped, up to step {}: the weights have not changed since, and every further step \
                     may fail; stop the run and start a new one with a lower train.learning_rate",
                self.skipped, self.step
            )));
        }
    }

    /// Which checkpoint remains to go back to when a run begins to record broken numbers.
    fn kept_for_later(&self) -> Result<String> {
        Ok(match newest_finite(&self.run.checkpoints())? {
            Some((step, _)) => format!(
                "from here on weights may not be finite; the checkpoint of step {step} is the last before that, and is \
                 kept"
            ),
            None => {
                "from here on weights may not be finite, and there is no checkpoint from before".to_owned()
            }
        })
    }

    fn stopped_at(&self, origin: &Nonfinite) -> Fault {
        let Nonfinite { step, value, index, tensor, phase, .. } = origin;
        let found = if origin.op == trace::NORM {
            "every tensor finite, but the sum of the gradient's squares beyond f32".to_owned()
        } else {
            let made = if origin.op.is_empty() { String::new() } else { format!(" made by {}", origin.op) };
            let place = if origin.scope.is_empty() { String::new() } else { format!(" in {}", origin.scope) };
            format!("{value} at element {index} of `{tensor}`{made}{place} ({phase})")
        };
        Fault::new(
            Kind::NonFinite,
            format!("training stopped before the update of step {}, which is not finite", nth(*step)),
        )
        .at(self.run.path().display())
        .found(found)
        .remedy(self.remedy_of_nonfinite(origin.phase != trace::PARAMETERS))
    }

    /// What to do, given the existing checkpoints. An update can be skipped if its own gradient is broken (`skippable`), not
    /// if it breaks the weights.
    pub(super) fn remedy_of_nonfinite(&self, skippable: bool) -> String {
        let skips = skippable && self.config.train.on_nonfinite == OnNonfinite::Stop;
        let answer = format!(
            "`{} --set train.on_nonfinite={}",
            shell::resume(self.run.path()),
            if skips { "skip` (or record)" } else { "record`" }
        );
        match Checkpoint::latest(&self.run) {
            Ok(Some(latest)) if !latest.checkpoint.state().recording => format!(
                "the checkpoint of step {} is good: start a new run with a lower train.learning_rate and \
                 train.init_from = \"{}\", or resume it with {answer}",
                latest.checkpoint.state().step,
                latest.checkpoint.weights().display()
            ),
            Ok(Some(_)) => {
                let from = match newest_finite(&self.run.checkpoints()) {
                    Ok(Some((step, path))) => format!(
                        ", and train.init_from = \"{}\" (step {step}, the last checkpoint with finite numbers)",
                        path.display()
                    ),
                    _ => String::new(),
                };
                format!(
                    "the run recorded such numbers before its last checkpoint: start a new one with a lower \
                     train.learning_rate{from}"
                )
            }
            _ => format!(
                "there is no checkpoint yet: lower train.learning_rate in a new run, or start this one again with {answer}"
            ),
        }
    }
}
