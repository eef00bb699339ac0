//! The learning rate of each step.

use super::TrainConfig;

impl TrainConfig {
    /// Steps of warm-up: `warmup_ratio`·`steps`, rounded up.
    pub fn warmup_steps(&self) -> u64 {
        (self.warmup_ratio * self.steps as f64).ceil() as u64
    }

    /// The learning rate of the update made at `step`, counted from 0.
    ///
    /// Linear from 0 to `learning_rate` over the warm-up, then linear towards `final_learning_rate`, which it
    /// reaches at `steps`: the "polynomial" schedule of transformers with power 1. The first step has rate 0.
    pub fn learning_rate_at(&self, step: u64) -> f64 {
        let warmup = self.warmup_steps();
        if step < warmup {
            return self.learning_rate * step as f64 / warmup as f64;
        }
        if step >= self.steps {
            return self.final_learning_rate;
        }
        let remaining = (self.steps - step) as f64 / (self.steps - warmup) as f64;
        self.final_learning_rate + (self.learning_rate - self.final_learning_rate) * remaining
    }
}
