//! Statistics over several seeds: mean, standard deviation, and the paired t-test.

use std::collections::BTreeMap;

/// Numbers of several seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    pub n: usize,
    pub mean: f64,
    /// With n − 1; none for a single number.
    pub deviation: Option<f64>,
}

impl Sample {
    /// The sample of `values`; none where there are none.
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
    /// Pairs.
    pub n: usize,
    /// Mean difference over its standard error.
    pub t: f64,
    /// Two-sided.
    pub p: f64,
}

/// Whether `own` differs from `base`, number by number of the seeds that both have.
///
/// # Errors
/// How many seeds they share, where these are fewer than two.
pub fn paired(own: &BTreeMap<u64, f64>, base: &BTreeMap<u64, f64>) -> Result<Paired, usize> {
    let differences: Vec<f64> =
        own.iter().filter_map(|(seed, value)| Some(value - base.get(seed)?)).collect();
    let n = differences.len();
    let Some(Sample { mean, deviation: Some(deviation), .. }) = Sample::of(&differences) else {
        return Err(n);
    };
    // Equal differences have no spread to compare them with: a t of 0/0 says nothing, one of x/0 everything.
    let t = if mean == 0.0 { 0.0 } else { mean / (deviation / (n as f64).sqrt()) };
    Ok(Paired { n, t, p: two_sided(t, n - 1) })
}

/// The chance of a |t| at least this large under Student's distribution with `freedom` ≥ 1 degrees of freedom: the
/// finite sums of Abramowitz and Stegun, 26.7.3 and 26.7.4.
pub fn two_sided(t: f64, freedom: usize) -> f64 {
    let angle = (t.abs() / (freedom as f64).sqrt()).atan();
    let (sin, cos) = angle.sin_cos();
    let odd = freedom % 2 == 1;
    // Σ of cos^k, each term with its ratio to the one before: even (k−1)/k, odd k from 1 with (k−1)/k as well.
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
