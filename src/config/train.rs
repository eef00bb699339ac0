//! The `[data]`, `[train]` and `[observe]` tables: the training data, the training run, and its records.

use serde::{Deserialize, Serialize};

use crate::model::pass::{Accumulation, Precision, Recompute};
use crate::ops::muon::Scale as MuonScale;
use crate::optimizer::{HYPER, Optimizer, Settings};
use crate::words::choice;

choice! {
    /// The order in which training chunks are taken.
    Order {
        /// a permutation of all chunks, drawn anew from `train.seed` for each pass
        Shuffle = "shuffle",
        /// in the order of the file
        Sequential = "sequential",
    }
}

choice! {
    /// What to do when the loss or a gradient is not finite.
    OnNonfinite {
        /// stop before the update and keep the last good checkpoint
        Stop = "stop",
        /// skip this update and continue; a note says so once 20 steps in a row were skipped
        Skip = "skip",
        /// update anyway, and record it, to study instability; the last checkpoint with finite
        /// numbers is kept beside the newest
        Record = "record",
    }
}

choice! {
    /// The entropy that counts as the full scale when heads are binned.
    EntropyReference {
        /// the largest head entropy among the models compared, as in the paper
        ObservedMax = "observed_max",
        /// (1/T)·Σ ln i: what uniform causal attention reaches
        CausalCeiling = "causal_ceiling",
        /// ln T, which no causal head reaches
        LogContext = "log_context",
    }
}

choice! {
    /// The learning rate after the warm-up.
    Schedule {
        /// falls linearly to `final_learning_rate` at step `steps`
        Linear = "linear",
        /// falls to it along half a cosine
        Cosine = "cosine",
        /// stays at the peak, and falls linearly to `final_learning_rate` over the last `decay_ratio` of `steps`
        Wsd = "wsd",
        /// stays at the peak
        Constant = "constant",
    }
}

/// The source of tokens. Paths are relative to the working directory.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A folder made by `normfree prepare`, or one of nanoGPT's.
    pub path: String,
    pub order: Order,
    /// Training tokens that are used, spread evenly over the file; `None` for all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_tokens: Option<u64>,
}

/// The training run. A step is one update of the weights.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TrainConfig {
    pub steps: u64,
    /// Sequences in a micro-batch.
    pub batch_size: usize,
    /// Micro-batches in a step.
    pub gradient_accumulation_steps: usize,
    pub accumulation: Accumulation,
    /// Tokens in a sequence, at most and by default `model.n_positions`.
    pub sequence_length: usize,
    /// The highest learning rate, reached at the end of the warm-up.
    pub learning_rate: f64,
    /// The rate that the decay would reach at step `steps`.
    pub final_learning_rate: f64,
    /// How the rate falls after the warm-up.
    pub lr_schedule: Schedule,
    /// The share of `steps` in which the rate of `wsd` falls.
    pub decay_ratio: f64,
    /// The warm-up's share of `steps`.
    pub warmup_ratio: f64,
    /// The share of `steps` after which the gate of tapered norms begins to close, and after which it is closed.
    pub taper_start: f64,
    pub taper_end: f64,
    /// Micro-batches for which norms of columns divide by the statistics of the micro-batch itself.
    pub norm_warmup: u64,
    /// The step at which the first fake norm loses its rows' statistics, and the steps between one block and the next for those
    /// of the feed-forward networks, of queries and keys, and of values.
    pub removal_start: f64,
    pub removal_gap_ffn: f64,
    pub removal_gap_qk: f64,
    pub removal_gap_v: f64,
    /// The momentum of their running deviations.
    pub removal_momentum: f64,
    /// Decoupled weight decay of matrices and embeddings; biases and LayerNorm do not decay.
    pub weight_decay: f64,
    /// Whether learnable slopes decay as well. The original decays them, and so pulls them to zero.
    pub decay_slopes: bool,
    /// Largest global norm of the gradient; 0 switches clipping off.
    pub max_grad_norm: f64,
    /// The largest ratio of a unit's gradient to its weights; 0 switches this off.
    pub adaptive_clipping: f64,
    /// Return every matrix to its first norm after each update.
    pub project_weights: bool,
    /// Give every row or column of a matrix length one, before the first step and after each update.
    pub unit_weights: bool,
    pub optimizer: Optimizer,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// Of Muon and SGD.
    pub momentum: f64,
    /// Muon's peak rate, if it is not `learning_rate`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub muon_learning_rate: Option<f64>,
    /// The factor of Muon's orthogonal update.
    pub muon_scale: MuonScale,
    /// The numbers of steps that the run had before it was given more, in order, with commas between them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extended_from: Option<String>,
    /// Steps between checkpoints.
    pub checkpoint_every: u64,
    /// How many of the newest checkpoints are kept.
    pub keep_checkpoints: usize,
    /// Steps between evaluations on the held-out chunks.
    pub eval_every: u64,
    /// Held-out chunks in an evaluation; 0 means all.
    pub eval_chunks: usize,
    /// A safetensors file with initial weights, instead of random ones.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub init_from: Option<String>,
    /// Seed of the initial weights, the order of the data, and dropout.
    pub seed: u64,
    pub on_nonfinite: OnNonfinite,
    /// Leave the end-of-text token out of the targets, as the original does (it is its padding token).
    pub ignore_end_of_text: bool,
    pub precision: Precision,
    pub recompute: Recompute,
    /// Initial factor of the gradient where it goes through f16, a power of two; with `mixed` only.
    pub loss_scale: u32,
    /// Steps without overflow after which the factor doubles; it halves at each overflow, whose update is skipped.
    pub loss_scale_window: u32,
}

impl TrainConfig {
    /// The optimizer's constants.
    pub fn settings(&self) -> Settings {
        Settings {
            beta1: self.adam_beta1,
            beta2: self.adam_beta2,
            epsilon: self.adam_epsilon,
            weight_decay: self.weight_decay,
            momentum: self.momentum,
            muon_scale: self.muon_scale,
            muon_ratio: self.muon_learning_rate.map_or(1.0, |rate| rate / self.learning_rate),
        }
    }

    /// The numbers that the optimizer needs for one step, from the learning rate and the number of updates so far.
    pub fn hyper(&self, learning_rate: f64, updates: u64) -> [f32; HYPER] {
        (self.optimizer.hyper)(&self.settings(), learning_rate, updates)
    }

    /// Tokens in all micro-batches of a step.
    pub fn tokens_per_step(&self) -> u64 {
        (self.batch_size * self.gradient_accumulation_steps * self.sequence_length) as u64
    }
}

/// What a run records besides loss and learning rate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObserveConfig {
    /// Compute the entropy of every head at every step.
    pub entropy: bool,
    /// Steps between `attention` records.
    pub entropy_every: u64,
    /// Steps between `slopes` records.
    pub slopes_every: u64,
    /// Observe the layers: gradients, units of the feed-forward network, the residual stream.
    pub layers: bool,
    /// Steps between `layers` records.
    pub layers_every: u64,
    /// Steps between observations of the layers. A unit is dead if it was zero at every one since the last record.
    pub sample_every: u64,
    /// Measure the spectra of the feed-forward networks' units at each evaluation.
    pub spectrum: bool,
    /// Text that the model continues at each evaluation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sample_prompt: Option<String>,
    /// Tokens of the continuation, at most.
    pub sample_tokens: usize,
    /// What its logits are divided by; 0 takes the likeliest token.
    pub sample_temperature: f64,
    /// Write TensorBoard event files beside the log.
    pub tensorboard: bool,
    pub entropy_reference: EntropyReference,
}
