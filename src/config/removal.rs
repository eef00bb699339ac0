//! The configuration of a run that removes the norms of a trained model.

use super::{Config, Schedule, TrainConfig};
use crate::fault::{Fault, Kind, Result};
use crate::model::removal::Removal;
use crate::numbers::counted;

impl Config {
    /// The same model with fake norms, which start from the weights of this one and are removed as `train` says.
    ///
    /// # Errors
    /// [`Kind::Config`] if norms of the model cannot be removed, naming the key.
    pub fn removing_norms(&self) -> Result<Self> {
        Ok(Self { model: self.model.with_fake_norms()?, ..self.clone() })
    }

    /// The step, counted from 0, that is the first one without a norm.
    pub fn norms_end_at(&self) -> u64 {
        self.train.removed_at(Removal::Head, self.model.n_layer)
    }

    /// Checks that the last norm is gone before the run ends, so that what is left can be written without norms.
    ///
    /// # Errors
    /// [`Kind::Config`], naming the keys.
    pub fn check_removal(&self) -> Result<()> {
        let (end, steps) = (self.norms_end_at(), self.train.steps);
        if end < steps {
            return Ok(());
        }
        let TrainConfig { removal_start, removal_gap_ffn, removal_gap_qk, removal_gap_v, .. } = self.train;
        Err(Fault::new(Kind::Config, "the run would end before its last norm is removed")
            .at("train.steps, train.removal_start and the gaps")
            .found(format_args!(
                "steps = {steps}; with removal_start = {removal_start:?}, removal_gap_ffn = {removal_gap_ffn:?}, \
                 removal_gap_qk = {removal_gap_qk:?}, removal_gap_v = {removal_gap_v:?} and {}, that is step {end}",
                counted(self.model.n_layer as u64, "block")
            ))
            .remedy("scale the schedule with --steps, or set more steps or smaller gaps"))
    }
}

impl TrainConfig {
    /// The steps of the schedule by which arXiv 2507.02559 removed the norms of GPT-2 small.
    pub const REMOVAL_STEPS: u64 = 300;
    /// The tokens of one of its steps.
    pub const REMOVAL_TOKENS: u64 = 1 << 19;

    /// Takes that schedule over, stretched to so many steps: rate, warm-up, decay and the steps at which norms are removed. The
    /// optimizer and the size of the batches stay as they are.
    pub fn follow_removal_of_gpt2(&mut self, steps: u64) {
        const WARMUP: f64 = 20.0;
        let stretch = steps as f64 / Self::REMOVAL_STEPS as f64;
        self.steps = steps;
        (self.learning_rate, self.final_learning_rate) = (6e-4, 3e-4);
        self.lr_schedule = Schedule::Cosine;
        self.warmup_ratio = WARMUP / Self::REMOVAL_STEPS as f64;
        self.weight_decay = 0.01;
        self.max_grad_norm = 1.0;
        self.removal_start = 20.0 * stretch;
        self.removal_gap_ffn = 2.0 * stretch;
        self.removal_gap_qk = 2.0 * stretch;
        self.removal_gap_v = 3.0 * stretch;
        self.removal_momentum = 0.9;
    }
}
