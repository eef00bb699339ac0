//! Evaluation on held-out text while a run trains.

use super::{Event, Trainer};
use crate::config::OnNonfinite;
use crate::fault::{Fault, Kind, Result};
use crate::observe::quantities::SPECTRUM;
use crate::observe::record::{Eval, Record, Sample};
use crate::train::evaluate::{NO_TARGETS, mean_loss};
use std::sync::atomic::{AtomicBool, Ordering};

impl Trainer {
    /// Evaluates on the held-out chunks and logs the result. If `stop` comes first, the resumed run repeats the evaluation.
    pub(super) fn write_evaluation(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<()> {
        let chunks = self.config.train.eval_chunks;
        let go_on = || !stop.load(Ordering::Relaxed);
        let (engine, batch) = (&self.engine, &mut self.scratch[0]);
        let mean = mean_loss(engine, None, &mut self.held_out, batch, chunks, &mut |_, _| go_on())?;
        let spectra = match mean {
            None => None,
            Some(_) => engine.spectra(&mut self.held_out, batch, &mut || go_on())?,
        };
        let sample = if spectra.is_some() { self.sample(stop, watch)? } else { None };
        self.owes_evaluation = sample.is_none();
        let (Some(mean), Some(spectra), Some(sample)) = (mean, spectra, sample) else { return Ok(()) };
        if let Some(values) = spectra {
            self.journal.append(&Record::Measured { kind: &SPECTRUM, step: self.step, values })?;
        }
        if let Some(sample) = sample {
            watch(Event::Sample(&sample));
            self.journal.append(&Record::Sample(sample))?;
        }
        match mean {
            None => watch(Event::Note(format!(
                "there is no held-out loss after step {}: the run has {NO_TARGETS}",
                self.step
            ))),
            Some(loss) => {
                let eval = Eval::new(self.step, loss);
                watch(Event::Eval(eval));
                self.broken_evaluation = (!eval.ppl.is_finite()).then_some(eval);
                self.journal.append(&eval.record())?;
            }
        }
        Ok(())
    }

    /// The text of this evaluation, if the run has one; the outer `None` if `stop` comes before it ends.
    fn sample(&mut self, stop: &AtomicBool, watch: &mut dyn FnMut(Event)) -> Result<Option<Option<Sample>>> {
        let Some(voice) = &self.voice else { return Ok(Some(None)) };
        match voice.speak(&mut self.engine, self.step, &|| stop.load(Ordering::Relaxed)) {
            // The evaluation says so as well, and the run's policy decides what follows.
            Err(fault) if fault.kind == Kind::NonFinite => {
                watch(Event::Note(format!(
                    "there is no text after step {}: the logits are not finite",
                    self.step
                )));
                Ok(Some(None))
            }
            spoken => spoken.map(|sample| sample.map(Some)),
        }
    }

    /// The final check of a run that does not record broken numbers: its last evaluation must be finite. Everything is
    /// written by then.
    ///
    /// # Errors
    /// [`Kind::NonFinite`].
    pub(super) fn check_last_evaluation(&self) -> Result<()> {
        match &self.broken_evaluation {
            Some(eval) if self.config.train.on_nonfinite != OnNonfinite::Record => {
                Err(Fault::new(Kind::NonFinite, "training is done, but the last evaluation is not finite")
                    .at(self.run.path().display())
                    .found(format!("held-out loss {}, perplexity {}", eval.loss, eval.ppl))
                    .remedy(
                        "the last checkpoint is written; start a new run with a lower train.learning_rate",
                    ))
            }
            _ => Ok(()),
        }
    }
}
