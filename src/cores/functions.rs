//! Functions of one f32 without branches, so that the compiler vectorises the loops that call them, and sums in a fixed
//! order.
//!
//! The errors stated are the largest over all of f32, tested below against f64. NaN gives NaN.

/// The partial sums of a reduction. Every vector width divides it, so that all widths give the same bits.
pub const LANES: usize = 16;

/// One number for each partial sum.
pub type Lanes = [f32; LANES];

/// e^x within 1.5e-7 of itself. Results below 2e-38 are zero.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: the last bits of a sum with it are the nearest whole number.
    const SHIFT: f32 = 12_582_912.0;
    /// ln 2 in two parts, of which the first has few bits.
    const HIGH: f32 = 0.693_359_4;
    const LOW: f32 = -2.121_944_4e-4;
    /// Beyond them the result is zero, or infinite.
    const LEAST: f32 = -86.9;
    const MOST: f32 = 88.8;
    // Not min and max, which would lose NaN.
    let near = if x < LEAST { LEAST } else { x };
    let near = if near > MOST { MOST } else { near };
    let shifted = near.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LOW, n.mul_add(-HIGH, near));
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    let p = p.mul_add(r * r, r + 1.0);
    // 2ⁿ⁻¹, because 2ⁿ itself may exceed f32 where the result does not.
    let half = f32::from_bits((shifted.to_bits() << 23).wrapping_add(126 << 23));
    if x < LEAST { 0.0 } else { p * half * 2.0 }
}

/// The normal distribution at a distance a ≥ 0 from its mean.
#[derive(Clone, Copy)]
pub struct Normal {
    /// e^(−a²/2)
    pub bell: f32,
    /// P(Z > a), within 2e-7, and within 5e-7 of itself up to a = 9.
    pub tail: f32,
}

/// The tail divided by e^(−a²/2) falls from 1/2 to 0.4/a: a Chebyshev fit of degree 8 in 1/(1 + 0.3 a), as in
/// `shaders/activation/gelu.wgsl`. Unlike 1 − erf, it keeps the digits of small tails.
#[inline(always)]
pub fn normal(a: f32) -> Normal {
    let t = 1.0 / a.mul_add(0.3, 1.0);
    let bell = exp(-0.5 * a * a);
    let q = 0.037_548_766_f32;
    let q = q.mul_add(t, -0.165_373_76);
    let q = q.mul_add(t, 0.221_350_4);
    let q = q.mul_add(t, -0.068_775_66);
    let q = q.mul_add(t, 0.137_646_14);
    let q = q.mul_add(t, 0.096_570_864);
    let q = q.mul_add(t, 0.121_487_25);
    let q = q.mul_add(t, 0.119_541_63);
    let q = q.mul_add(t, 4.377_244_7e-6);
    Normal { bell, tail: bell * q }
}

/// 1/(1 + e^(−x)) = ½(1 + tanh(x/2)), within 4e-7 of itself above −86, and its derivative.
#[inline(always)]
pub fn logistic(x: f32) -> (f32, f32) {
    let e = exp(-x.abs());
    let s = 1.0 / (1.0 + e);
    (if x < 0.0 { e * s } else { s }, e * s * s)
}

/// The sum of all lanes, by halves.
#[inline(always)]
pub fn total(mut lanes: Lanes) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for l in 0..half {
            lanes[l] += lanes[l + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The largest lane; NaN is passed over.
#[inline(always)]
pub fn largest(lanes: Lanes) -> f32 {
    lanes.into_iter().fold(f32::NEG_INFINITY, |most, v| if v > most { v } else { most })
}

/// Σ f of the elements of rows of one length, over two sets of lanes.
#[inline(always)]
pub fn sum<const N: usize>(rows: [&[f32]; N], f: impl Fn([f32; N]) -> f32) -> f32 {
    let [mut even, mut odd] = [[0.0; LANES]; 2];
    let parts = rows.map(|row| row.as_chunks::<{ 2 * LANES }>());
    for i in 0..parts[0].0.len() {
        let pairs = parts.map(|(pairs, _)| &pairs[i]);
        for l in 0..LANES {
            even[l] += f(pairs.map(|pair| pair[l]));
            odd[l] += f(pairs.map(|pair| pair[LANES + l]));
        }
    }
    for (i, lane) in (0..parts[0].1.len()).zip(even.iter_mut().chain(&mut odd)) {
        *lane += f(parts.map(|(_, rest)| rest[i]));
    }
    for l in 0..LANES {
        even[l] += odd[l];
    }
    total(even)
}

/// The largest element; NaN is passed over.
#[inline(always)]
pub fn maximum(row: &[f32]) -> f32 {
    let mut most = [f32::NEG_INFINITY; LANES];
    let (whole, rest) = row.as_chunks::<LANES>();
    for part in whole {
        for l in 0..LANES {
            most[l] = if part[l] > most[l] { part[l] } else { most[l] };
        }
    }
    for (most, &v) in most.iter_mut().zip(rest) {
        *most = if v > *most { v } else { *most };
    }
    largest(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers of every size and both signs.
    fn samples() -> impl Iterator<Item = f32> {
        (0..u32::MAX).step_by(1009).map(f32::from_bits).filter(|x| x.is_finite())
    }

    /// Numbers where functions are neither zero nor one.
    fn near() -> impl Iterator<Item = f32> {
        (-900_000..900_000).map(|i| i as f32 * 1e-4)
    }

    #[test]
    fn exp_is_within_its_error() {
        for x in samples().chain(near()) {
            let (got, want) = (f64::from(exp(x)), f64::from(x).exp());
            let fits = match want {
                want if want > f64::from(f32::MAX) => got > 3.4e38,
                want if want < 2e-38 => (0.0..2e-38).contains(&got),
                want => (got - want).abs() <= 1.5e-7 * want,
            };
            assert!(fits, "exp({x}) = {got:e}, not {want:e}");
        }
        assert_eq!([0.0, f32::NEG_INFINITY, f32::INFINITY].map(exp), [1.0, 0.0, f32::INFINITY]);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn the_normal_distribution_is_within_its_error() {
        for a in samples().chain(near()).filter(|a| *a >= 0.0) {
            let got = f64::from(normal(a).tail);
            let want = 0.5 * libm::erfc(f64::from(a) * std::f64::consts::FRAC_1_SQRT_2);
            assert!((got - want).abs() <= 2e-7, "P(Z > {a}) = {got:e}, not {want:e}");
            // Rounding a² shifts the exponent by up to a²·6e-8.
            let relative = 5e-7 + 6e-8 * f64::from(a).powi(2);
            assert!(a > 9.0 || (got - want).abs() <= relative * want, "P(Z > {a}) = {got:e}, not {want:e}");
        }
        assert_eq!(normal(f32::INFINITY).tail, 0.0);
        assert!(normal(f32::NAN).tail.is_nan());
    }

    #[test]
    fn the_logistic_function_is_within_its_error() {
        for x in samples().chain(near()) {
            let (s, slope) = logistic(x);
            let want = 1.0 / (1.0 + (-f64::from(x)).exp());
            let fits = |got: f32, want: f64| {
                (f64::from(got) - want).abs() <= if x > -86.0 { 4e-7 * want } else { 1e-37 }
            };
            assert!(fits(s, want), "logistic({x}) = {s:e}, not {want:e}");
            // From e: 1 − s would lose all digits of a large x.
            let e = (-f64::from(x).abs()).exp();
            let want = e / (1.0 + e).powi(2);
            assert!(x > 86.0 || fits(slope, want), "slope at {x} = {slope:e}, not {want:e}");
        }
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(|x| logistic(x).0), [0.0, 1.0]);
        assert!(logistic(f32::NAN).0.is_nan());
    }

    #[test]
    fn reductions_take_every_element() {
        for n in [0, 1, 15, 16, 31, 32, 33, 100] {
            let x: Vec<f32> = (1..=n).map(|i| i as f32).collect();
            assert_eq!(sum([&x], |[v]| v), (n * (n + 1) / 2) as f32);
            assert_eq!(sum([&x, &x], |[v, w]| v - w), 0.0);
            assert_eq!(maximum(&x), if n > 0 { n as f32 } else { f32::NEG_INFINITY });
        }
        let lanes = std::array::from_fn(|l| if l == 3 { f32::NAN } else { l as f32 });
        assert_eq!(largest(lanes), 15.0);
        assert!(total(lanes).is_nan());
    }
}
