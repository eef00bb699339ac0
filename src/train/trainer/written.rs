//! What a step leaves behind: its records, each on its cadence.

use super::{Event, Trainer};
use crate::fault::Result;
use crate::observe::record::{Attention, EntropyThresholds, FfnScales, Layers, Record, Slopes, Step, nth};
use crate::train::engine::{LayerReading, StepReading};
use std::time::Instant;

impl Trainer {
    /// Tells and logs a step that took so many `seconds`.
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
        let record = Step {
            step,
            loss: (reading.targets > 0).then_some(f64::from(reading.loss)),
            entropy_penalty: reading.entropy_penalty,
            lr: train.learning_rate_at(step),
            grad_norm: f64::from(reading.grad_norm),
            tokens: (step + 1) * each,
            tokens_per_s: each as f64 / seconds.max(1e-9),
            loss_scale: reading.scaling.map(|(scale, _)| scale),
            overflow: reading.scaling.is_some_and(|(_, overflow)| overflow),
        };
        if !reading.head_entropy.is_empty() {
            watch(Event::HeadEntropy(&reading.head_entropy));
        }
        if !reading.slopes.is_empty() {
            watch(Event::Slopes(&reading.slopes));
        }
        watch(Event::Step(&record));
        self.journal.append(&Record::Step(record))?;
        let due = |every: u64| step.is_multiple_of(every) || step + 1 == train.steps;
        if !reading.head_entropy.is_empty() && due(self.config.observe.entropy_every) {
            self.journal.append(&Record::Attention(attention_record(&reading, train.sequence_length)))?;
        }
        if !reading.slopes.is_empty() && due(self.config.observe.slopes_every) {
            self.journal.append(&Record::Slopes(Slopes { step, slopes: reading.slopes }))?;
        }
        if !reading.thresholds.is_empty() && due(self.config.observe.slopes_every) {
            let thresholds = reading.thresholds;
            self.journal.append(&Record::EntropyThresholds(EntropyThresholds { step, thresholds }))?;
        }
        if !reading.ffn_scales.is_empty() && due(self.config.observe.slopes_every) {
            let (alpha, beta) = reading.ffn_scales.into_iter().unzip();
            self.journal.append(&Record::FfnScales(FfnScales { step, alpha, beta }))?;
        }
        if let Some(layers) = reading.layers {
            self.active_units.note(&layers.active);
            if due(self.config.observe.layers_every) {
                let dead = self.active_units.take_dead();
                let tokens = train.batch_size * train.sequence_length;
                self.journal.append(&Record::Layers(layers_record(step, &layers, dead, tokens)))?;
                // The first step compiles, and says nothing of the others.
                if step > 0 {
                    self.tell_cost(seconds, watch)?;
                }
            }
        }
        Ok(())
    }

    /// Tells of a step without a loss: of the first, and whenever their number has doubled.
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

    /// Tells of event files that could not be written.
    pub(super) fn tell_trouble(&mut self, watch: &mut dyn FnMut(Event)) {
        if let Some(trouble) = self.journal.take_trouble() {
            watch(Event::Note(trouble));
        }
    }

    /// Tells once what looking at the layers costs, beside a step that took so many `seconds`.
    fn tell_cost(&mut self, seconds: f64, watch: &mut dyn FnMut(Event)) -> Result<()> {
        if std::mem::replace(&mut self.cost_told, true) {
            return Ok(());
        }
        if let Some(looking) = self.engine.looking_seconds()? {
            let every = self.config.observe.sample_every.min(self.config.observe.layers_every);
            let share = 100.0 * looking / seconds.max(looking) / every as f64;
            watch(Event::Note(format!(
                "looking at the layers takes {:.1} ms of a step, once in {every} steps: {share:.2}% of the time",
                looking * 1e3
            )));
            self.clock = Instant::now();
        }
        Ok(())
    }
}

fn layers_record(step: u64, layers: &LayerReading, dead: Vec<f32>, tokens: usize) -> Layers {
    let zeros = |counts: &Vec<f32>| {
        let active: f64 = counts.iter().map(|&count| f64::from(count)).sum();
        (1.0 - active / (tokens * counts.len()) as f64) as f32
    };
    Layers {
        step,
        grad_norm: layers.grad_norm.clone(),
        zeros: layers.active.iter().map(zeros).collect(),
        dead,
        residual_max: layers.residual.iter().map(|&(largest, _)| largest).collect(),
        residual_median: layers.residual.iter().map(|&(_, median)| median).collect(),
    }
}

fn attention_record(reading: &StepReading, sequence: usize) -> Attention {
    let mean = |heads: &Vec<f32>| heads.iter().sum::<f32>() / heads.len() as f32;
    Attention {
        step: reading.step,
        layer_entropy: reading.head_entropy.iter().map(mean).collect(),
        head_entropy: reading.head_entropy.clone(),
        // A broken score breaks the whole row of probabilities.
        nonfinite: reading.nonfinite_rows.iter().map(|rows| rows * sequence as u64).collect(),
    }
}
