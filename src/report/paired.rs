//! Statistics over several seeds: mean, standard deviation, and the paired t-test.

use std::collections::BTreeMap;

/// Numbers of several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub n: usize,
    pub mean: f64,
    /// Sample standard deviation (n − 1); `None` for a single number.
    pub deviation: Option<f64>,
}

impl Sample {
    /// The sample of `values`; `None` if there are none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n as f64;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        (n > 0).then(|| Self { n, mean, deviation: (n > 1).then(|| (squares / (n - 1) as f64).sqrt()) })
    }
}

/// A paired t-test.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Paired {
    /// Number of pairs.
    pub n: usize,
    /// Mean difference over its standard error.
    pub t: f64,
    /// Two-sided.
    pub p: f64,
}

/// Tests whether `own` differs from `base`, pairing their numbers by the seeds that both have.
///
/// # Errors
/// The number of seeds they share, if it is less than two.
pub fn paired(own: &BTreeMap<u64, f64>, base: &BTreeMap<u64, f64>) -> Result<Paired, usize> {
    let differences: Vec<f64> =
        own.iter().filter_map(|(seed, value)| Some(value - base.get(seed)?)).collect();
    let n = differences.len();
    let Some(Sample { mean, deviation: Some(deviation), .. }) = Sample::of(&differences) else {
        return Err(n);
    };
    // If all differences are equal, their deviation is zero: 0/0 counts as t = 0, and x/0 is infinite.
    let t = if mean == 0.0 { 0.0 } else { mean / (deviation / (n as f64).sqrt()) };
    Ok(Paired { n, t, p: two_sided(t, n - 1) })
}

/// The probability of a |t| at least this large under Student's distribution with `freedom` ≥ 1 degrees of freedom, by the
/// finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
pub fn two_sided(t: f64, freedom: usize) -> f64 {
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // The sum over powers cos^k, each term computed from the one before with the factor (k−1)/k: even k from 0, odd k from
    // 1.
    let (mut term, mut sum) = if odd { (cos, cos) } else { (1.0, 1.0) };
    let first = if odd { 3 } else { 2 };
    if freedom == 1 {
        sum = 0.0;
    }
    for k in (first..freedom.saturating_sub(1)).step_by(2) {
        term *= cos * cos * (k - 1) as f64 / k as f64;
        sum += term;
    }
    let within = if odd { (angle + sin * sum) * std::f64::consts::FRAC_2_PI } else { sin * sum };
    (1.0 - within).clamp(0.0, 1.0)
}
