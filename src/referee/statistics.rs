//! The statistics of a verdict: confidence interval, equivalence, correction for several comparisons, power, and counts.

use crate::report::paired::{Sample, two_sided};

/// A claim is decided at this probability of error.
pub const LEVEL: f64 = 0.05;
/// The power at which a number of seeds counts as enough.
const POWER: f64 = 0.8;
/// No more seeds than this are proposed.
const MOST_SEEDS: usize = 1000;

/// What the differences between pairs of runs say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Differences {
    pub n: usize,
    pub mean: f64,
    /// Sample standard deviation.
    pub deviation: f64,
    /// The 95% confidence interval of the mean, uncorrected.
    pub interval: (f64, f64),
    /// Two-sided p of the paired t-test.
    pub p: f64,
    /// p of the equivalence test: two one-sided t-tests against the margin (Schuirmann 1987), the larger of both.
    pub p_equivalent: f64,
    /// p of the test that the difference is beyond the margin, on the side where it is.
    pub p_beyond: f64,
}

impl Differences {
    /// `None` for less than two differences.
    pub fn of(differences: &[f64], margin: f64) -> Option<Self> {
        let Sample { n, mean, deviation: Some(deviation) } = Sample::of(differences)? else { return None };
        let freedom = n - 1;
        let error = deviation / (n as f64).sqrt();
        let half = quantile(1.0 - LEVEL / 2.0, freedom) * error;
        // Whether a mean of `distance` on one side of a bound is chance: one-sided, also where all differences are equal.
        let beyond = |distance: f64| match (error > 0.0, distance > 0.0) {
            (true, _) => upper(distance / error, freedom),
            (false, true) => 0.0,
            (false, false) => 1.0,
        };
        let p = if mean == 0.0 && error == 0.0 { 1.0 } else { 2.0 * beyond(mean.abs()) };
        Some(Self {
            n,
            mean,
            deviation,
            interval: (mean - half, mean + half),
            p: p.min(1.0),
            p_equivalent: beyond(margin - mean.abs()),
            p_beyond: beyond(mean.abs() - margin),
        })
    }

    /// The number of seeds with which a paired t-test at `level` would find a difference of this mean and deviation in four
    /// of five studies; `None` if more than a thousand. The usual approximation by two quantiles of t.
    pub fn seeds_needed(&self, level: f64) -> Option<usize> {
        let effect = self.mean.abs() / self.deviation;
        (2..=MOST_SEEDS).find(|&n| {
            let needed = quantile(1.0 - level / 2.0, n - 1) + quantile(POWER, n - 1);
            effect * (n as f64).sqrt() >= needed
        })
    }
}

/// The probability of a t of at least this size, on one side.
fn upper(t: f64, freedom: usize) -> f64 {
    let tail = two_sided(t, freedom) / 2.0;
    if t >= 0.0 { tail } else { 1.0 - tail }
}

/// The t below which Student's distribution has the probability `p` of at least one half.
fn quantile(p: f64, freedom: usize) -> f64 {
    let tail = 2.0 * (1.0 - p);
    let (mut low, mut high) = (0.0, 1.0);
    while two_sided(high, freedom) > tail && high < 1e12 {
        high *= 2.0;
    }
    for _ in 0..80 {
        let middle = 0.5 * (low + high);
        if two_sided(middle, freedom) > tail { low = middle } else { high = middle }
    }
    0.5 * (low + high)
}

/// The p-values corrected for their number (Holm 1979), in the same order.
pub fn holm(p: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..p.len()).collect();
    order.sort_by(|&a, &b| p[a].total_cmp(&p[b]));
    let mut corrected = vec![0.0; p.len()];
    let mut largest: f64 = 0.0;
    for (rank, &index) in order.iter().enumerate() {
        largest = largest.max((p[index] * (p.len() - rank) as f64).min(1.0));
        corrected[index] = largest;
    }
    corrected
}

/// Fisher's exact test, two-sided: whether `one` of `of` and `other` of `others` come from the same share.
pub fn fisher((one, of): (usize, usize), (other, others): (usize, usize)) -> f64 {
    let hits = one + other;
    let chance = |k: usize| {
        let ways = |n: usize, k: usize| {
            libm::lgamma(n as f64 + 1.0) - libm::lgamma(k as f64 + 1.0) - libm::lgamma((n - k) as f64 + 1.0)
        };
        (ways(of, k) + ways(others, hits - k) - ways(of + others, hits)).exp()
    };
    let observed = chance(one);
    let possible = hits.saturating_sub(others)..=hits.min(of);
    // A table as probable as the observed one counts, whatever rounding says.
    possible.map(chance).filter(|&p| p <= observed * (1.0 + 1e-9)).sum::<f64>().min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(found: f64, wanted: f64, within: f64) {
        assert!((found - wanted).abs() <= within, "{found} instead of {wanted}");
    }

    /// Quantiles as tables print them, with three decimals.
    #[test]
    fn quantiles_of_t() {
        for (p, freedom, t) in [(0.975, 4, 2.776), (0.975, 1, 12.706), (0.8, 9, 0.883), (0.95, 30, 1.697)] {
            near(quantile(p, freedom), t, 5e-4);
        }
    }

    /// Five differences, computed by hand: mean 0.3, deviation √0.025, t = 4.2426 with 4 degrees of freedom.
    #[test]
    fn differences_are_judged() {
        let found = Differences::of(&[0.1, 0.2, 0.3, 0.4, 0.5], 0.1).unwrap();
        near(found.mean, 0.3, 1e-12);
        near(found.deviation, 0.025f64.sqrt(), 1e-12);
        let half = 2.776445 * found.deviation / 5f64.sqrt();
        near(found.interval.0, 0.3 - half, 1e-6);
        near(found.interval.1, 0.3 + half, 1e-6);
        near(found.p, 0.013236, 1e-5);
        // Against the margin of 0.1: t = 0.2/0.0707107 = 2.8284, one-sided.
        near(found.p_beyond, 0.023709, 1e-5);
        near(found.p_equivalent, 1.0 - 0.023709, 1e-5);
        // A deviation of half the mean needs 6 seeds: (2.571 + 0.920)/√6 = 1.43 < 1.90; 4: (3.182 + 0.978)/2 = 2.08.
        assert_eq!(found.seeds_needed(LEVEL), Some(5));
    }

    #[test]
    fn equal_differences_have_no_error() {
        let same = Differences::of(&[0.0, 0.0, 0.0], 0.1).unwrap();
        assert_eq!((same.p, same.p_equivalent, same.p_beyond), (1.0, 0.0, 1.0));
        let all = Differences::of(&[0.5, 0.5], 0.1).unwrap();
        assert_eq!((all.p, all.p_equivalent, all.p_beyond), (0.0, 1.0, 0.0));
        assert_eq!(Differences::of(&[0.5], 0.1), None);
    }

    /// Holm's procedure by hand: 0.01·3, max(0.02·2, …), max(0.03·1, …).
    #[test]
    fn several_comparisons_are_corrected() {
        assert_eq!(holm(&[0.03, 0.01, 0.02]), [0.04, 0.03, 0.04]);
        assert_eq!(holm(&[0.9, 0.8]), [1.0, 1.0]);
        assert!(holm(&[]).is_empty());
    }

    /// All of five and none of five: 2/C(10, 5). One of five against one of five is no difference.
    #[test]
    fn counts_are_compared_exactly() {
        near(fisher((5, 5), (0, 5)), 2.0 / 252.0, 1e-12);
        near(fisher((1, 5), (1, 5)), 1.0, 1e-9);
        near(fisher((4, 5), (0, 5)), 2.0 * 5.0 / 210.0, 1e-12);
        near(fisher((0, 5), (0, 5)), 1.0, 1e-12);
    }
}
