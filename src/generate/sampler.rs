//! Samples the next token from the model's logits.

use crate::fault::{Fault, Kind, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// The settings of the sampler.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    /// Logits are divided by it; 0 always takes the likeliest token.
    pub temperature: f64,
    /// Keep only this many of the likeliest tokens (Fan et al. 2018); 0 for all.
    pub top_k: usize,
    /// Keep only the likeliest tokens that together have this probability (Holtzman et al. 2020); 1 for all.
    pub top_p: f64,
    /// Equal seeds draw equal tokens.
    pub seed: u64,
}

/// Draws tokens.
#[derive(Debug)]
pub struct Sampler {
    sampling: Sampling,
    random: ChaCha8Rng,
}

impl Sampler {
    pub fn new(sampling: Sampling) -> Self {
        Self { sampling, random: ChaCha8Rng::seed_from_u64(sampling.seed) }
    }

    /// The next token. Among equally likely tokens, the one with the smaller number comes first.
    ///
    /// # Errors
    /// [`Kind::NonFinite`] where a logit is not finite.
    pub fn pick(&mut self, logits: &[f32]) -> Result<u32> {
        if let Some((token, value)) = logits.iter().enumerate().find(|(_, value)| !value.is_finite()) {
            return Err(Fault::new(
                Kind::NonFinite,
                "the model's weights produce numbers that are not finite",
            )
            .found(format!("a logit of {value} for token {token}"))
            .remedy("use an earlier checkpoint"));
        }
        let Sampling { temperature, top_k, top_p, .. } = self.sampling;
        let mut tokens: Vec<u32> = (0..logits.len() as u32).collect();
        let logit = |token: &u32| f64::from(logits[*token as usize]);
        let likeliest_first = |a: &u32, b: &u32| logit(b).total_cmp(&logit(a)).then(a.cmp(b));
        if temperature == 0.0 {
            return Ok(tokens.into_iter().min_by(likeliest_first).expect("a vocabulary has tokens"));
        }
        let most = if top_k == 0 { tokens.len() } else { top_k.min(tokens.len()) };
        if most < tokens.len() {
            tokens.select_nth_unstable_by(most - 1, likeliest_first);
            tokens.truncate(most);
        }
        tokens.sort_unstable_by(likeliest_first);
        let peak = logit(&tokens[0]);
        let mut weights: Vec<f64> =
            tokens.iter().map(|token| ((logit(token) - peak) / temperature).exp()).collect();
        let enough = top_p * weights.iter().sum::<f64>();
        let mut sum = 0.0;
        let kept = weights.iter().position(|weight| {
            sum += weight;
            sum >= enough
        });
        weights.truncate(kept.map_or(weights.len(), |last| last + 1));
        let mut left = self.random.random::<f64>() * weights.iter().sum::<f64>();
        let drawn = weights.iter().position(|weight| {
            left -= weight;
            left < 0.0
        });
        // Rounding may leave a remainder for the last one.
        Ok(tokens[drawn.unwrap_or(weights.len() - 1)])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 4] = [0.0, 2.0, 1.0, 2.0];

    fn draws(sampling: Sampling, count: usize) -> Vec<u32> {
        let mut sampler = Sampler::new(sampling);
        (0..count).map(|_| sampler.pick(&LOGITS).unwrap()).collect()
    }

    fn sampling(temperature: f64, top_k: usize, top_p: f64) -> Sampling {
        Sampling { temperature, top_k, top_p, seed: 7 }
    }

    #[test]
    fn cold_draws_take_the_likeliest_token() {
        assert_eq!(draws(sampling(0.0, 0, 1.0), 3), [1, 1, 1]);
        assert_eq!(draws(sampling(5.0, 1, 1.0), 3), [1, 1, 1]);
        assert_eq!(draws(sampling(5.0, 0, 1e-9), 3), [1, 1, 1]);
    }

    #[test]
    fn shares_are_those_of_the_softmax() {
        const COUNT: usize = 40_000;
        for (sampling, allowed) in [
            (sampling(1.0, 0, 1.0), &[0, 1, 2, 3][..]),
            (sampling(2.0, 0, 1.0), &[0, 1, 2, 3]),
            (sampling(1.0, 3, 1.0), &[1, 2, 3]),
            (sampling(1.0, 2, 1.0), &[1, 3]),
            // 1 and 3 have 0.799 of the probability together, and 2 the next 0.147.
            (sampling(1.0, 0, 0.79), &[1, 3]),
            (sampling(1.0, 0, 0.9), &[1, 2, 3]),
        ] {
            let drawn = draws(sampling, COUNT);
            let weight = |token: usize| (f64::from(LOGITS[token]) / sampling.temperature).exp();
            let all: f64 = allowed.iter().map(|&token| weight(token)).sum();
            for token in 0..LOGITS.len() {
                let wanted = if allowed.contains(&token) { weight(token) / all } else { 0.0 };
                let share = drawn.iter().filter(|&&d| d as usize == token).count() as f64 / COUNT as f64;
                // Five standard deviations of a share of 40,000 draws are 0.0125 at most.
                assert!((share - wanted).abs() <= 0.0125, "{sampling:?}: {token} {share} for {wanted}");
                assert!(wanted > 0.0 || share == 0.0, "{sampling:?}: {token}");
            }
        }
    }

    #[test]
    fn equal_seeds_draw_equal_tokens() {
        let of = |seed| draws(Sampling { seed, ..sampling(1.0, 0, 1.0) }, 50);
        assert_eq!(of(3), of(3));
        assert_ne!(of(3), of(4));
    }

    #[test]
    fn broken_logits_are_reported() {
        let mut sampler = Sampler::new(sampling(1.0, 0, 1.0));
        let fault = sampler.pick(&[0.0, f32::NAN]).unwrap_err();
        assert_eq!(fault.kind, Kind::NonFinite);
    }
}
