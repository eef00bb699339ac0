//! The attention of one head over a text, in f64.

use rayon::prelude::*;

use crate::ops::attention::capped;
use crate::ops::packed::{Packed, Part};

/// The attention of one head over a text of T tokens.
#[derive(Clone, Debug, PartialEq)]
pub struct Head {
    /// Counted from 0, like `head`.
    pub layer: usize,
    pub head: usize,
    /// `[T(T+1)/2]`: the weights of each query on the keys up to its own, row after row. A row sums to one, or with a sink to
    /// what the sink leaves. NaN where a score of the row is not finite.
    pub weights: Vec<f32>,
    /// `[T]`, in nats: the entropy of each row's weights over the keys, without the sink. NaN as above.
    pub entropies: Vec<f64>,
    /// `[T]`: the weight on the sink; empty if the head has none.
    pub sinks: Vec<f64>,
}

impl Head {
    /// T.
    pub fn tokens(&self) -> usize {
        self.entropies.len()
    }

    /// The mean entropy of its rows, in nats; NaN if one is not finite.
    pub fn mean(&self) -> f64 {
        self.entropies.iter().sum::<f64>() / self.tokens() as f64
    }

    /// `[query + 1]`: the weights of a query.
    pub fn row(&self, query: usize) -> &[f32] {
        &self.weights[query * (query + 1) / 2..][..=query]
    }
}

/// What an attention of a model reads, on one text.
#[derive(Clone, Debug)]
pub struct Layer<'a> {
    pub layer: usize,
    pub packed: Packed,
    /// `[T, columns]`: q | k | v as attention reads them, after norms, rotary positions and temperatures.
    pub qkv: &'a [f32],
    /// The cap of the scores.
    pub cap: Option<f64>,
    /// `[heads]`: the logits of the sinks, if there are any.
    pub sinks: Option<&'a [f32]>,
}

impl Layer<'_> {
    /// Its heads, computed on all cores.
    pub fn heads(&self) -> Vec<Head> {
        (0..self.packed.heads).into_par_iter().map(|head| self.head(head)).collect()
    }

    fn head(&self, head: usize) -> Head {
        let rows = self.qkv.chunks_exact(self.packed.columns());
        let part = |part| -> Vec<f64> {
            let columns = self.packed.head(part, head);
            rows.clone().flat_map(|row| row[columns.clone()].iter().map(|&value| f64::from(value))).collect()
        };
        let [queries, keys] = [Part::Query, Part::Key].map(part);
        let width = self.packed.width;
        let scale = 1.0 / (width as f64).sqrt();
        let tokens = rows.len();
        let mut weights = Vec::with_capacity(tokens * (tokens + 1) / 2);
        let (mut entropies, mut sinks) = (Vec::with_capacity(tokens), Vec::new());
        for (query, q) in queries.chunks_exact(width).enumerate() {
            let score = |k: &[f64]| {
                let score = scale * q.iter().zip(k).map(|(q, k)| q * k).sum::<f64>();
                self.cap.map_or(score, |cap| capped(score, cap))
            };
            let scores: Vec<f64> = keys.chunks_exact(width).take(query + 1).map(score).collect();
            let broken = scores.iter().any(|score| !score.is_finite());
            let largest = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let lse = largest + scores.iter().map(|score| (score - largest).exp()).sum::<f64>().ln();
            // Where e^x underflows x stays finite, so the product is zero.
            let nats = -scores.iter().map(|score| (score - lse).exp() * (score - lse)).sum::<f64>();
            // What the sink leaves: σ(lse − b).
            let left = self.sinks.map_or(1.0, |sinks| 1.0 / (1.0 + (f64::from(sinks[head]) - lse).exp()));
            let weight = |score: f64| if broken { f32::NAN } else { (left * (score - lse).exp()) as f32 };
            weights.extend(scores.into_iter().map(weight));
            entropies.push(if broken { f64::NAN } else { nats.max(0.0) });
            if self.sinks.is_some() {
                sinks.push(if broken { f64::NAN } else { 1.0 - left });
            }
        }
        Head { layer: self.layer, head, weights, entropies, sinks }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two tokens of one head of width 4, whose query 1 has the scores s and 0 with the two keys.
    fn two_tokens(s: f32, cap: Option<f64>, sinks: Option<&[f32]>) -> Head {
        let mut qkv = [0.0; 24];
        qkv[12] = 2.0 * s; // The query of token 1, divided by √4.
        qkv[4] = 1.0; // The key of token 0.
        let packed = Packed::of(12, 1, 4);
        Layer { layer: 3, packed, qkv: &qkv, cap, sinks }.heads().remove(0)
    }

    #[test]
    fn weights_are_the_softmax_of_the_scores() {
        let head = two_tokens(2.0, None, None);
        let p = 1.0 / (1.0 + (-2.0_f64).exp());
        assert_eq!((head.layer, head.tokens(), head.row(0)), (3, 2, &[1.0][..]));
        assert!((f64::from(head.row(1)[0]) - p).abs() < 1e-7 && head.sinks.is_empty());
        let nats = -(p * p.ln() + (1.0 - p) * (1.0 - p).ln());
        assert!(head.entropies[0] == 0.0 && (head.entropies[1] - nats).abs() < 1e-12);
        assert!((head.mean() - nats / 2.0).abs() < 1e-12);
    }

    #[test]
    fn caps_bend_scores_and_sinks_take_weight_but_no_entropy() {
        let capped = two_tokens(2.0, Some(1.0), None);
        let p = 1.0 / (1.0 + (-(2.0_f64.tanh())).exp());
        assert!((f64::from(capped.row(1)[0]) - p).abs() < 1e-7);
        let (plain, sunk) = (two_tokens(2.0, None, None), two_tokens(2.0, None, Some(&[1.0])));
        assert_eq!(plain.entropies, sunk.entropies);
        // e²/(e² + e⁰ + e¹)
        let all = 2.0_f64.exp() + 1.0 + 1.0_f64.exp();
        assert!((f64::from(sunk.row(1)[0]) - 2.0_f64.exp() / all).abs() < 1e-7);
        assert!((sunk.sinks[1] - 1.0_f64.exp() / all).abs() < 1e-12);
    }

    #[test]
    fn a_broken_score_breaks_its_row_only() {
        let head = two_tokens(f32::NAN, None, None);
        assert!(head.entropies[0] == 0.0 && head.entropies[1].is_nan() && head.mean().is_nan());
        assert!(head.row(0) == [1.0] && head.row(1).iter().all(|weight| weight.is_nan()));
    }
}
