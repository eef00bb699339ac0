//! What is kept of patterns to be shown: a byte for each weight.

use super::head::Head;

/// The byte that keeps a weight: 255 times its square root, so that the small weights of long rows stay apart. What is read
/// back is off by 0.004 at most. NaN is kept as zero; the row's entropy says so.
pub fn byte(weight: f64) -> u8 {
    (255.0 * weight.clamp(0.0, 1.0).sqrt()).round() as u8
}

/// The weight that a byte keeps.
pub fn weight(byte: u8) -> f64 {
    (f64::from(byte) / 255.0).powi(2)
}

/// What is kept of a head.
#[derive(Clone, Debug, PartialEq)]
pub struct Kept {
    /// `[T(T+1)/2]`, as in [`Head::weights`].
    pub weights: Vec<u8>,
    /// `[T]`; empty without a sink.
    pub sinks: Vec<u8>,
    /// `[T]`, in nats.
    pub entropies: Vec<f64>,
    /// In nats.
    pub mean: f64,
}

impl From<&Head> for Kept {
    fn from(head: &Head) -> Self {
        Self {
            weights: head.weights.iter().map(|&weight| byte(f64::from(weight))).collect(),
            sinks: head.sinks.iter().map(|&weight| byte(weight)).collect(),
            entropies: head.entropies.clone(),
            mean: head.mean(),
        }
    }
}

/// The patterns of all heads of a model over one text.
#[derive(Clone, Debug, PartialEq)]
pub struct Patterns {
    /// Which model, and where the text is from: one line.
    pub title: String,
    /// What a reader should know besides: sentences.
    pub notes: Vec<String>,
    /// The tokens as text.
    pub tokens: Vec<String>,
    /// Heads of a layer.
    pub heads: usize,
    /// `[layers × heads]`, layer after layer.
    pub kept: Vec<Kept>,
}

impl Patterns {
    pub fn layers(&self) -> usize {
        self.kept.len() / self.heads
    }

    /// Mean entropies in nats, `[layer][head]`.
    pub fn means(&self) -> Vec<Vec<f64>> {
        self.kept.chunks(self.heads).map(|layer| layer.iter().map(|head| head.mean).collect()).collect()
    }

    /// Rows of attention that are not finite, and the first head that has one.
    pub fn broken(&self) -> Option<(usize, (usize, usize))> {
        let broken = |head: &Kept| head.entropies.iter().filter(|nats| !nats.is_finite()).count();
        let first = self.kept.iter().position(|head| broken(head) > 0)?;
        Some((self.kept.iter().map(broken).sum(), (first / self.heads, first % self.heads)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_byte_keeps_a_weight_within_four_thousandths() {
        for step in 0..=10_000 {
            let exact = f64::from(step) / 10_000.0;
            let error = (weight(byte(exact)) - exact).abs();
            assert!(error <= 0.004 && error <= 0.004 * exact.sqrt() + 4e-6, "{exact}: off by {error}");
        }
        assert_eq!([0.0, 1.0, f64::NAN].map(byte), [0, 255, 0]);
    }
}
