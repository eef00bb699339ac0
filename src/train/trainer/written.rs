//! What a step writes: its records, each on its cadence.

use super::{Event, Trainer};
use crate::fault::Result;
use crate::observe::quantities::{
    Cadence, DEAD, HEAD_ENTROPY, KINDS, LAYER_ENTROPY, LEARNING_RATE, TOKENS, TOKENS_PER_S, ZEROS,
};
use crate::observe::record::{Record, Values, nth};
use crate::train::engine::StepReading;
use std::time::Instant;

impl Trainer {
    /// Reports and logs a step that took `seconds`.
    pub(super) fn write_down(
        &mut self,
        reading: StepReading,
        seconds: f64,
        watch: &mut dyn FnMut(Event),
    ) -> Result<()> {
        let step = reading.step;
        if !reading.halted {
            self.skipped = 0;
        }
        if reading.targets == 0 {
            self.tell_without_targets(step, watch);
        }
        self.tell_trouble(watch);
        let train = &self.config.train;
        let each = train.tokens_per_step();
        let mut values = reading.values;
        values.set(&LEARNING_RATE, Values::Step(train.learning_rate_at(step)));
        values.set(&TOKENS, Values::Step(((step + 1) * each) as f64));
        values.set(&TOKENS_PER_S, Values::Step(each as f64 / seconds.max(1e-9)));
        let entropies = values.heads(&HEAD_ENTROPY);
        if !entropies.is_empty() {
            let mean = |heads: &Vec<f32>| heads.iter().sum::<f32>() / heads.len() as f32;
            let means = entropies.iter().map(mean).collect();
            values.set(&LAYER_ENTROPY, Values::Layers(means));
        }
        let due = |every: u64| step.is_multiple_of(every) || train.is_end(step + 1);
        let observe = &self.config.observe;
        let looked = reading.active.is_some() && due(observe.layers_every);
        if let Some(active) = &reading.active {
            self.active_units.note(active);
            let zeros = zeros(active, train.batch_size * train.sequence_length);
            values.set(&ZEROS, Values::Layers(zeros));
            if looked {
                values.set(&DEAD, Values::Layers(self.active_units.take_dead()));
            }
        }
        watch(Event::Step { step, values: &values });
        for kind in KINDS {
            let due = match kind.cadence {
                Cadence::EveryStep => true,
                Cadence::Entropy => due(observe.entropy_every),
                Cadence::Slopes => due(observe.slopes_every),
                Cadence::Layers => looked,
                Cadence::Evaluation => false,
            };
            if let Some(values) = due.then(|| values.of(kind)).flatten() {
                self.journal.append(&Record::Measured { kind, step, values })?;
            }
        }
        // The first step includes compilation, so its time says nothing about the others.
        if looked && step > 0 {
            self.tell_cost(seconds, watch)?;
        }
        Ok(())
    }

    /// Reports a step without a loss: the first, and whenever their number has doubled.
    fn tell_without_targets(&mut self, step: u64, watch: &mut dyn FnMut(Event)) {
        self.without_targets += 1;
        if self.without_targets.is_power_of_two() {
            let so_far = match self.without_targets {
                1 => String::new(),
                count => format!(", as in {} before", count - 1),
            };
            watch(Event::Note(format!(
                "step {} has no loss{so_far}: every target in it is the end of text, which does not count \
                 (train.ignore_end_of_text)",
                nth(step)
            )));
        }
    }

    /// Reports event files that could not be written.
    pub(super) fn tell_trouble(&mut self, watch: &mut dyn FnMut(Event)) {
        if let Some(trouble) = self.journal.take_trouble() {
            watch(Event::Note(trouble));
        }
    }

    /// Reports once what observing the layers costs, compared with a step that took `seconds`.
    fn tell_cost(&mut self, seconds: f64, watch: &mut dyn FnMut(Event)) -> Result<()> {
        if std::mem::replace(&mut self.cost_told, true) {
            return Ok(());
        }
        if let Some(looking) = self.engine.looking_seconds()? {
            let every = self.config.observe.sample_every.min(self.config.observe.layers_every);
            let share = 100.0 * looking / seconds.max(looking) / every as f64;
            watch(Event::Note(format!(
                "observing the layers takes {:.1} ms of {}: {share:.2}% of the time",
                looking * 1e3,
                if every == 1 { "every step".to_owned() } else { format!("a step, once in {every} steps") }
            )));
            self.clock = Instant::now();
        }
        Ok(())
    }
}

/// The share of each layer's activations that are zero. `active` counts the tokens, out of `tokens`, for which each unit
/// was not zero.
fn zeros(active: &[Vec<f32>], tokens: usize) -> Vec<f32> {
    let share = |counts: &Vec<f32>| {
        let active: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        (1.0 - active / (tokens * counts.len()) as f64) as f32
    };
    active.iter().map(share).collect()
}
