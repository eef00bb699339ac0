//! What changes from step to step: the learning rate, and the gates of norms on their way out.

use super::{Schedule, TrainConfig};
use crate::model::removal::Removal;
use crate::ops::column_norm::rule::WINDOW;
use std::f64::consts::PI;

impl TrainConfig {
    /// The numbers of steps before the run was given more, in ascending order, each below the next and below `steps`; `None` if
    /// the text does not say such numbers.
    pub fn extensions(&self) -> Option<Vec<u64>> {
        let Some(text) = &self.extended_from else { return Some(Vec::new()) };
        let numbers: Option<Vec<u64>> = text.split(',').map(|number| number.trim().parse().ok()).collect();
        let all: Vec<u64> = numbers?.into_iter().chain([self.steps]).collect();
        (all[0] > 0 && all.windows(2).all(|two| two[0] < two[1])).then(|| all[..all.len() - 1].to_vec())
    }

    /// Gives the run more steps: rates up to the end that it had stay as they were.
    pub fn extend(&mut self, steps: u64) {
        let before = self.extended_from.take().map(|earlier| earlier + ",").unwrap_or_default();
        self.extended_from = Some(format!("{before}{}", self.steps));
        self.steps = steps;
    }

    /// Whether the run ends, or once ended, after so many steps.
    pub fn is_end(&self, steps: u64) -> bool {
        steps == self.steps || self.extensions().is_some_and(|ends| ends.contains(&steps))
    }

    /// The number of steps that the rate of `step` is computed for.
    fn planned_at(&self, step: u64) -> u64 {
        self.extensions().into_iter().flatten().find(|&end| step < end).unwrap_or(self.steps)
    }

    /// Steps of warm-up: `warmup_ratio`·`steps`, rounded up.
    pub fn warmup_steps(&self) -> u64 {
        self.warmup_of(self.steps)
    }

    fn warmup_of(&self, steps: u64) -> u64 {
        (self.warmup_ratio * steps as f64).ceil() as u64
    }

    /// The first step of `wsd` with a rate below the peak is the one after this: `decay_ratio`·`steps` before the end.
    fn decay_from(&self, steps: u64) -> u64 {
        let falling = (self.decay_ratio * steps as f64).floor() as u64;
        (steps - falling.min(steps)).max(self.warmup_of(steps))
    }

    /// The learning rate of the update made at `step`, counted from 0.
    ///
    /// Linear from 0 to `learning_rate` over the warm-up, so that the first step has rate 0. Then as [`Schedule`] says: the
    /// linear one is the "polynomial" schedule of transformers with power 1.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let steps = self.planned_at(step);
        let warmup = self.warmup_of(steps);
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        let falls_from = match self.lr_schedule {
            Schedule::Linear | Schedule::Cosine => warmup,
            Schedule::Wsd => self.decay_from(steps),
            Schedule::Constant => return self.learning_rate,
        };
        if step >= steps {
            return self.final_learning_rate;
        }
        let remaining = (steps - step.max(falls_from)) as f64 / (steps - falls_from) as f64;
        let share = match self.lr_schedule {
            Schedule::Cosine => 0.5 * (1.0 - (PI * remaining).cos()),
            Schedule::Linear | Schedule::Wsd | Schedule::Constant => remaining,
        };
        self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * share
    }

    /// The gate of tapered norms at `step`, counted from 0, and how far their running scales move towards those of the step.
    ///
    /// The gate is one up to `taper_start`, then falls by half a cosine to zero at `taper_end`. Scales are running means as
    /// long as it is one: over all steps at first, then with a momentum of 0.99.
    pub fn taper_at(&self, step: u64) -> [f32; 2] {
        const MOMENTUM: f64 = 0.99;
        // A gate that has closed does not open again in a run that was given more steps.
        let steps = self.planned_at(0) as f64;
        let [start, end] = [self.taper_start, self.taper_end].map(|share| (share * steps).ceil());
        let at = step as f64;
        if at < start {
            return [1.0, (1.0 / (at + 1.0)).max(1.0 - MOMENTUM) as f32];
        }
        let done = if at >= end { 1.0 } else { (at - start) / (end - start) };
        [(0.5 * (1.0 + (std::f64::consts::PI * done).cos())) as f32, 0.0]
    }

    /// The first step, counted from 0, without the statistics of the rows at a place, in a model of so many blocks.
    ///
    /// From `removal_start` on, the feed-forward networks lose theirs one block after the other, `removal_gap_ffn` steps apart; then
    /// queries and keys, `removal_gap_qk` apart; then values, `removal_gap_v` apart; then the head.
    pub fn removed_at(&self, place: Removal, blocks: usize) -> u64 {
        let [ffn, qk, v] = [self.removal_gap_ffn, self.removal_gap_qk, self.removal_gap_v];
        let blocks = blocks as f64;
        let after = match place {
            Removal::Network(layer) => layer as f64 * ffn,
            Removal::QueryKey(layer) => blocks * ffn + layer as f64 * qk,
            Removal::Value(layer) => blocks * (ffn + qk) + layer as f64 * v,
            Removal::Head => blocks * (ffn + qk + v),
        };
        (self.removal_start + after).ceil() as u64
    }

    /// The gate of each place of a fake norm at `step`, and how far its running deviation moves towards that of the step. It is
    /// the mean over all steps at first, then one with the momentum `removal_momentum`; once the gate is closed, it stays.
    pub fn removal_at(&self, step: u64, blocks: usize) -> Vec<f32> {
        let share = (1.0 / (step as f64 + 1.0)).max(1.0 - self.removal_momentum) as f32;
        let pair = |place| if step < self.removed_at(place, blocks) { [1.0, share] } else { [0.0; 2] };
        Removal::all(blocks).flat_map(pair).collect()
    }

    /// The schedule of norms of columns at micro-batch `index` of `step`, both counted from 0; see
    /// [`rule`](crate::ops::column_norm::rule).
    pub fn statistics_at(&self, step: u64, index: usize) -> [f32; 4] {
        /// Up to this one, Unified Normalization does not compare with its running mean.
        const SETTLED: u64 = 1000;
        let window = WINDOW as u64;
        let at = step * self.gradient_accumulation_steps as u64 + index as u64 + 1;
        let flag = |set: bool| if set { 1.0 } else { 0.0 };
        [
            flag(at <= self.norm_warmup.max(window)),
            if at < self.norm_warmup { 1.0 / at as f32 } else { 0.0 },
            (at % window) as f32,
            flag(at > self.norm_warmup.max(SETTLED)),
        ]
    }
}
