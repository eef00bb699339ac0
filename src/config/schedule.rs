//! What changes from step to step: the learning rate, and the gates of norms on their way out.

use super::{Schedule, TrainConfig};
use crate::model::removal::Removal;
use crate::ops::column_norm::rule::WINDOW;
use std::f64::consts::PI;

impl TrainConfig {
    /// Steps of warm-up: `warmup_ratio`·`steps`, rounded up.
    pub fn warmup_steps(&self) -> u64 {
        (self.warmup_ratio * self.steps as f64).ceil() as u64
    }

    /// The first step of `wsd` with a rate below the peak is the one after this: `decay_ratio`·`steps` before the end.
    fn decay_from(&self) -> u64 {
        let falling = (self.decay_ratio * self.steps as f64).floor() as u64;
        (self.steps - falling.min(self.steps)).max(self.warmup_steps())
    }

    /// The learning rate of the update made at `step`, counted from 0.
    ///
    /// Linear from 0 to `learning_rate` over the warm-up, so that the first step has rate 0. Then as [`Schedule`] says: the
    /// linear one is the "polynomial" schedule of transformers with power 1.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warmup = self.warmup_steps();
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        let falls_from = match self.lr_schedule {
            Schedule::Linear | Schedule::Cosine => warmup,
            Schedule::Wsd => self.decay_from(),
            Schedule::Constant => return self.learning_rate,
        };
        if step >= self.steps {
            return self.final_learning_rate;
        }
        let remaining = (self.steps - step.max(falls_from)) as f64 / (self.steps - falls_from) as f64;
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
        let [start, end] = [self.taper_start, self.taper_end].map(|share| (share * self.steps as f64).ceil());
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
