//! The spectrum of a feed-forward network's units: how many directions they use, by the measures of NerVE (arXiv 2603.06922).

use super::eigenvalues::eigenvalues;

/// What a spectrum says. λ are the eigenvalues of the covariance divided by their sum, in descending order.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Shape {
    /// Spectral entropy in nats: −Σ λ ln λ.
    pub entropy: f64,
    /// Participation ratio: (Σ λ)² / Σ λ², between 1 and D.
    pub participation: f64,
    /// Early enrichment: Σᵢ (λ₁ + … + λᵢ − i/D) / (D/2), between 0 and 1.
    pub enrichment: f64,
}

/// Sums over the tokens of an evaluation, and the covariance that follows from them.
pub struct Moments<'a> {
    /// How many tokens were summed.
    pub tokens: usize,
    /// Σ x, of which the first `width` elements count.
    pub sums: &'a [f32],
    /// Σ x xᵀ, `[n, n]` with n elements of `sums`.
    pub products: &'a [f32],
    pub width: usize,
}

impl Moments<'_> {
    /// The normalized eigenvalues of the covariance, in descending order; NaN if a sum is not finite, or all are zero.
    pub fn spectrum(&self) -> Vec<f64> {
        let (n, width, tokens) = (self.sums.len(), self.width, self.tokens as f64);
        let mean: Vec<f64> = self.sums[..width].iter().map(|&sum| f64::from(sum) / tokens).collect();
        let mut covariance = Vec::with_capacity(width * width);
        for (line, own) in self.products.chunks_exact(n).zip(&mean) {
            covariance
                .extend(line.iter().zip(&mean).map(|(&sum, other)| f64::from(sum) / tokens - own * other));
        }
        let broken = vec![f64::NAN; width];
        let Some(values) = eigenvalues(covariance, width) else { return broken };
        // Rounding makes some of the zeros negative.
        let values: Vec<f64> = values.into_iter().map(|value| value.max(0.0)).collect();
        let total: f64 = values.iter().sum();
        if total > 0.0 { values.into_iter().map(|value| value / total).collect() } else { broken }
    }
}

impl Shape {
    /// The shape of normalized eigenvalues in descending order.
    pub fn of(spectrum: &[f64]) -> Self {
        let width = spectrum.len() as f64;
        let mut cumulated = 0.0;
        let above = spectrum.iter().enumerate().map(|(i, value)| {
            cumulated += value;
            cumulated - (i + 1) as f64 / width
        });
        // f64::clamp keeps NaN.
        let enrichment = (above.sum::<f64>() / (width / 2.0)).clamp(0.0, 1.0);
        let squares: f64 = spectrum.iter().map(|value| value * value).sum();
        Self { entropy: entropy(spectrum), participation: squares.recip(), enrichment }
    }
}

/// The Jensen-Shannon divergence of two normalized spectra of the same length, in nats: at most ln 2.
pub fn divergence(one: &[f64], other: &[f64]) -> f64 {
    let middle: Vec<f64> = one.iter().zip(other).map(|(a, b)| f64::midpoint(*a, *b)).collect();
    entropy(&middle) - f64::midpoint(entropy(one), entropy(other))
}

fn entropy(spectrum: &[f64]) -> f64 {
    let term = |&value: &f64| if value == 0.0 { 0.0 } else { -value * value.ln() };
    spectrum.iter().map(term).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_and_single_spectra_are_the_ends_of_each_measure() {
        let flat = [0.125; 8];
        let Shape { entropy, participation, enrichment } = Shape::of(&flat);
        assert!((entropy - 8_f64.ln()).abs() < 1e-12);
        assert!((participation - 8.0).abs() < 1e-12);
        assert!(enrichment.abs() < 1e-12);
        let mut single = [0.0; 8];
        single[0] = 1.0;
        let Shape { entropy, participation, enrichment } = Shape::of(&single);
        assert_eq!((entropy, participation), (0.0, 1.0));
        // Σ (1 − i/8) = 3.5, over 4.
        assert!((enrichment - 0.875).abs() < 1e-12);
        assert!((divergence(&single, &flat) - 0.4969).abs() < 1e-4, "{}", divergence(&single, &flat));
        assert_eq!(divergence(&flat, &flat), 0.0);
        let mut far = [0.0; 8];
        far[7] = 1.0;
        assert!((divergence(&single, &far) - 2_f64.ln()).abs() < 1e-12);
        assert!(Shape::of(&[f64::NAN; 3]).entropy.is_nan());
    }

    #[test]
    fn a_covariance_is_centered() {
        // Tokens (1, 5, ·), (3, 5, ·): the third column is not asked for.
        let sums = [4.0, 10.0, 7.0];
        let products = [10.0, 20.0, 1.0, 20.0, 50.0, 1.0, 1.0, 1.0, 1.0];
        let moments = Moments { tokens: 2, sums: &sums, products: &products, width: 2 };
        assert_eq!(moments.spectrum(), [1.0, 0.0]);
        let constant = Moments { tokens: 2, sums: &[2.0], products: &[2.0], width: 1 };
        assert!(constant.spectrum()[0].is_nan());
    }
}
