//! What is recorded for a model in each kind of pass: training, evaluation, generation.

use crate::ops::cross_entropy::Logits;
use crate::words::choice;

choice! {
    /// How the loss of a step is averaged over several micro-batches.
    Accumulation {
        /// the mean over all targets of the step, as in one larger batch
        Mean = "mean",
        /// the mean over micro-batches of the mean over their own targets, as in the original's trainer
        MeanOfMeans = "mean_of_means",
    }
}

choice! {
    /// How numbers are stored.
    Precision {
        /// every number in 32 bits
        F32 = "f32",
        /// f16 for what matrix products and attention read and write; f32 for everything else: trained and saved
        /// weights, moments, sums, the residual stream, statistics, loss. Refused on devices without 16-bit floats
        Mixed = "mixed",
    }
}

choice! {
    /// What the backward pass recomputes instead of keeping it from the forward pass, which saves memory at the cost of
    /// time. Results have the same bits.
    Recompute {
        /// everything is kept
        None = "none",
        /// the result of the feed-forward network's activation
        Ffn = "ffn",
        /// everything inside a block; its input is kept
        Block = "block",
    }
}

impl Accumulation {
    /// The choice of runs that began before this key existed. With one micro-batch both are the same.
    pub fn of_earlier_runs(micro_batches: i128) -> Self {
        if micro_batches > 1 { Self::MeanOfMeans } else { Self::Mean }
    }
}

/// The shape of a micro-batch, and what is recorded for it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pass {
    /// Sequences.
    pub batch: usize,
    /// Tokens of a sequence.
    pub sequence: usize,
    /// Micro-batches of a step; observations are averaged over them.
    pub micro_batches: usize,
    /// Whether sums over rows are summed over a step, or averaged over its micro-batches.
    pub accumulation: Accumulation,
    /// Forward and backward with dropout, or only forward without it.
    pub training: bool,
    /// Measure the entropy of every head.
    pub entropy: bool,
    /// Observe the layers, in replays that request it.
    pub layers: bool,
    /// Sum the second moments of the feed-forward networks' units, before and after the activation.
    pub spectrum: bool,
    /// Leave out the units of feed-forward networks that are below a bound, which is an input.
    pub truncated: bool,
    /// How much memory the logits may take.
    pub logits: Logits,
    /// What the backward pass recomputes.
    pub recompute: Recompute,
    /// With mixed precision, products and attention use f16 copies of the matrices and f16 activations.
    pub precision: Precision,
}

/// A pass that reads tokens for generation: over the contents of each layer's cache, forward only, in f32.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CachedPass {
    /// Tokens in one pass. Unused rows have [`crate::ops::gather::NO_ROW`] as token and position.
    pub rows: usize,
    /// Compute the logits of the row; for a single row only.
    pub logits: bool,
    /// The largest piece of the head, in bytes.
    pub piece_bytes: u64,
}
