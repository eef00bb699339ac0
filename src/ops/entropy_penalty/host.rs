//! The penalty on entropy on the CPU: rows in f32, their sums over the batch in f64, in order. Threads share heads, or rows.

use super::{EntropyPenalty, Penalized};
use crate::cores::functions::sum;
use crate::cores::{rows_per_block, simd};
use rayon::prelude::*;

/// Entropies [B, H, T], and what of them is penalized.
pub(super) struct Penalty<'a> {
    op: &'a EntropyPenalty,
    entropy: &'a [f32],
    threshold: &'a [f32],
    batch: usize,
    sequence: usize,
}

impl<'a> Penalty<'a> {
    /// `inputs` are those of the op.
    pub fn new(op: &'a EntropyPenalty, [batch, _, sequence]: [usize; 3], inputs: &[&'a [f32]]) -> Self {
        let [entropy, threshold, ..] = *inputs else { unreachable!("two inputs, or three") };
        Self { op, entropy, threshold, batch, sequence }
    }

    /// Rows of a head.
    fn rows(&self) -> usize {
        self.batch * self.sequence
    }

    fn most(&self) -> f32 {
        EntropyPenalty::most(self.sequence) as f32
    }

    /// The deviation of an entropy from the threshold of head `head` where it is beyond the margin, else 0.
    #[inline(always)]
    fn beyond(&self, head: usize) -> impl Fn(f32) -> f32 {
        let (centre, margin) = (self.threshold[head] * self.most(), self.op.margin as f32 * self.most());
        // What is not finite is beyond every margin.
        move |nats| if (nats - centre).abs() <= margin { 0.0 } else { nats - centre }
    }

    /// Σ `term` of a head's elements in a tensor of the shape of the entropies.
    fn total(&self, of: &[f32], head: usize, term: impl Fn(f32) -> f32) -> f64 {
        let heads = self.threshold.len();
        simd(
            #[inline(always)]
            || {
                let rows = of.chunks_exact(self.sequence).skip(head).step_by(heads);
                rows.map(|row| f64::from(sum([row], |[value]| term(value)))).sum()
            },
        )
    }

    fn mean(&self, head: usize) -> f32 {
        (self.total(self.entropy, head, |nats| nats) / self.rows() as f64) as f32
    }

    /// Adds to the penalty of each head.
    pub fn add_to(&self, penalties: &mut [f32]) {
        let weight = self.op.row_weight(self.rows());
        let heads = penalties.par_iter_mut().with_min_len(rows_per_block(self.rows()));
        heads.enumerate().for_each(|(head, penalty)| {
            let beyond = self.beyond(head);
            let squares = match self.op.of {
                Penalized::HeadMean => f64::from(beyond(self.mean(head))).powi(2),
                Penalized::RowMean | Penalized::RowSum => {
                    self.total(self.entropy, head, |nats| beyond(nats) * beyond(nats))
                }
            };
            *penalty += (weight * squares) as f32;
        });
    }

    /// Writes the gradient of each entropy, and writes that of each threshold or adds to it.
    pub fn gradients(&self, scale: f32, accumulate: bool, d_entropy: &mut [f32], d_threshold: &mut [f32]) {
        let heads = self.threshold.len();
        let factor = 2.0 * self.op.row_weight(self.rows()) as f32 * scale;
        let means = match self.op.of {
            Penalized::HeadMean => (0..heads).map(|head| self.mean(head)).collect(),
            Penalized::RowMean | Penalized::RowSum => Vec::new(),
        };
        let rows =
            d_entropy.par_chunks_exact_mut(self.sequence).zip(self.entropy.par_chunks_exact(self.sequence));
        let tasks = rows.enumerate().with_min_len(rows_per_block(self.sequence));
        tasks.for_each(|(row, (to, entropy))| {
            let head = row % heads;
            let beyond = self.beyond(head);
            match means.get(head) {
                Some(&mean) => to.fill(factor * beyond(mean) / self.rows() as f32),
                None => simd(
                    #[inline(always)]
                    || to.iter_mut().zip(entropy).for_each(|(to, &nats)| *to = factor * beyond(nats)),
                ),
            }
        });
        for (head, total) in d_threshold.iter_mut().enumerate() {
            let pull =
                -EntropyPenalty::most(self.sequence) * self.total(d_entropy, head, |gradient| gradient);
            *total = if accumulate { *total } else { 0.0 } + pull as f32;
        }
    }
}
