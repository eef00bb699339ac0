//! Samples of a time as a median and a spread.

use serde::Serialize;

/// A median and the middle half of the samples around it, in seconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Spread {
    pub median: f64,
    /// A quarter of the samples lies below this.
    pub low: f64,
    /// A quarter of the samples lies above this.
    pub high: f64,
}

impl Spread {
    /// The spread of at least one sample.
    ///
    /// # Panics
    /// If `samples` is empty.
    pub fn of(samples: &[f64]) -> Self {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let place = share * (sorted.len() - 1) as f64;
            let (below, part) = (place.floor() as usize, place.fract());
            sorted[below] + (sorted[(below + 1).min(sorted.len() - 1)] - sorted[below]) * part
        };
        Self { median: at(0.5), low: at(0.25), high: at(0.75) }
    }

    /// The same in another unit.
    pub fn scaled(self, by: f64) -> Self {
        Self { median: self.median * by, low: self.low * by, high: self.high * by }
    }
}

#[cfg(test)]
mod tests {
    use super::Spread;

    #[test]
    fn spreads_are_quartiles() {
        let spread = Spread::of(&[5.0, 1.0, 4.0, 2.0, 3.0]);
        assert_eq!(spread, Spread { median: 3.0, low: 2.0, high: 4.0 });
        assert_eq!(Spread::of(&[7.0]), Spread { median: 7.0, low: 7.0, high: 7.0 });
        assert_eq!(Spread::of(&[1.0, 2.0]).median, 1.5);
    }
}
