//! Capped scores: c·tanh(s/c), which stay within c on either side of zero (Gemma 2, arXiv 2408.00118). Everything that follows, the
//! softmax, lse, the entropy and their gradients, is of the capped scores; a gradient at one becomes one at s times
//! 1 − (capped/c)². Twin: `shaders/attention/cap.wgsl`.

use crate::cores::functions::exp;

/// c·tanh(s/c) in f64.
pub(crate) fn capped(score: f64, cap: f64) -> f64 {
    cap * (score / cap).tanh()
}

/// Its derivative, from the capped score.
pub(super) fn slope(capped: f64, cap: f64) -> f64 {
    1.0 - (capped / cap).powi(2)
}

/// The same in f32, within 3e-7·c. Near zero it is a polynomial (Moshier's Cephes library), as 1 − e^(−2|x|) has few digits there.
#[inline(always)]
pub(crate) fn capped_f32(score: f32, cap: f32) -> f32 {
    let x = score / cap;
    let e = exp(-2.0 * x.abs());
    let far = (1.0 - e) / (1.0 + e);
    let z = x * x;
    let p = -5.704_988_7e-3_f32;
    let p = p.mul_add(z, 2.063_909e-2);
    let p = p.mul_add(z, -5.373_971_6e-2);
    let p = p.mul_add(z, 0.133_314_42);
    let p = p.mul_add(z, -0.333_332_8);
    let signed = if x < 0.0 { -far } else { far };
    cap * if x.abs() < 0.625 { (x * z).mul_add(p, x) } else { signed }
}

/// Its derivative.
#[inline(always)]
pub(super) fn slope_f32(capped: f32, cap: f32) -> f32 {
    let t = capped / cap;
    t.mul_add(-t, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn f32_is_f64_rounded() {
        let samples = (-40_000..40_000).map(|i| i as f32 * 1e-2);
        for score in samples.chain([1e-20, -1e-20, 1e30, -1e30, f32::INFINITY]) {
            for cap in [1.0, 20.0, 50.0] {
                let (got, want) =
                    (f64::from(capped_f32(score, cap)), capped(f64::from(score), f64::from(cap)));
                // A few roundings of numbers up to c, and relative to themselves near zero.
                let bound = 3e-7 * want.abs().max(if score.abs() < 0.6 * cap { 0.0 } else { f64::from(cap) });
                assert!((got - want).abs() <= bound, "{score} capped at {cap}: {got:e}, not {want:e}");
            }
        }
        assert!(capped_f32(f32::NAN, 20.0).is_nan());
    }
}
