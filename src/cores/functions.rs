//! Functions of one f32 without branches, so that the compiler vectorises the loops that call them, and sums in a fixed
//! order.
//!
//! The errors stated are the largest over all of f32, tested below against f64. NaN gives NaN.

use bytemuck::{Pod, Zeroable};

/// The partial sums of a reduction. Every vector width divides it, so that all widths give the same bits.
pub const LANES: usize = 16;

/// One number for each partial sum.
pub type Lanes = [f32; LANES];

/// ln 2 in two parts, of which the first has few bits.
const HIGH: f32 = 0.693_359_4;
const LOW: f32 = -2.121_944_4e-4;

/// [`Lanes`] of one cache line, so that no vector lies in two.
#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(64))]
pub struct Line(pub Lanes);

impl Line {
    pub const ZERO: Self = Self([0.0; LANES]);
}

/// e^x is taken as zero below it.
const LEAST: f32 = -86.9;

/// e^x within 1.5e-7 of itself, but only within 2e-38 where it is less than that.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// e^x is infinite above it.
    const MOST: f32 = 88.8;
    // Not min and max, which would lose NaN.
    let near = if x < LEAST { LEAST } else { x };
    let near = if near > MOST { MOST } else { near };
    let (p, n) = fraction(near);
    // 2ⁿ⁻¹, because 2ⁿ itself may exceed f32 where the result does not.
    let half = f32::from_bits((n << 23).wrapping_add(126 << 23));
    if x < LEAST { 0.0 } else { p * half * 2.0 }
}

/// e^x = p·2ⁿ, of which only the last bits of n count.
#[inline(always)]
fn fraction(near: f32) -> (f32, u32) {
    /// 1.5 · 2²³: the last bits of a sum with it are the nearest whole number.
    const SHIFT: f32 = 12_582_912.0;
    let shifted = near.mul_add(std::f32::consts::LOG2_E, SHIFT);
    let n = shifted - SHIFT;
    let r = n.mul_add(-LOW, n.mul_add(-HIGH, near));
    let p = 1.987_569_1e-4_f32;
    let p = p.mul_add(r, 1.398_199_9e-3);
    let p = p.mul_add(r, 8.333_452e-3);
    let p = p.mul_add(r, 4.166_579_6e-2);
    let p = p.mul_add(r, 0.166_666_66);
    let p = p.mul_add(r, 0.5);
    (p.mul_add(r * r, r + 1.0), shifted.to_bits())
}

/// The same for x up to 88 in fewer steps, with the same bits above -86; below, it is within 1.5e-7 to the end.
#[inline(always)]
pub fn exp_below(x: f32) -> f32 {
    let near = if x < LEAST { LEAST } else { x };
    let (p, n) = fraction(near);
    let power = f32::from_bits((n << 23).wrapping_add(127 << 23));
    if x < LEAST { 0.0 } else { p * power }
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
    let bell = exp_below(-0.5 * a * a);
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
    let e = exp_below(-x.abs());
    let s = 1.0 / (1.0 + e);
    (if x < 0.0 { e * s } else { s }, e * s * s)
}

/// x, with a bound on its size. NaN stays NaN.
#[inline(always)]
pub fn within(x: f32, bound: f32) -> f32 {
    let x = if x > bound { bound } else { x };
    if x < -bound { -bound } else { x }
}

/// tanh x within 3e-7 of itself. Near zero, where 1 − e^(−2|x|) has no digits, it is Cephes' polynomial.
#[inline(always)]
pub fn tanh(x: f32) -> f32 {
    let z = x * x;
    let q = -5.704_988_6e-3_f32;
    let q = q.mul_add(z, 2.063_908_8e-2);
    let q = q.mul_add(z, -5.373_971_7e-2);
    let q = q.mul_add(z, 0.133_314_43);
    let q = q.mul_add(z, -0.333_332_8);
    let near = (x * z).mul_add(q, x);
    let e = exp(-2.0 * x.abs());
    let far = ((1.0 - e) / (1.0 + e)).copysign(x);
    if x.abs() >= 0.625 { far } else { near }
}

/// The error function within 3e-7 of itself: Cephes' polynomial below one, beyond it the normal distribution's tail.
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let z = x * x;
    let p = 7.853_861_4e-5_f32;
    let p = p.mul_add(z, -8.010_193_6e-4);
    let p = p.mul_add(z, 5.188_327_7e-3);
    let p = p.mul_add(z, -2.685_381_2e-2);
    let p = p.mul_add(z, 0.112_835_85);
    let p = p.mul_add(z, -0.376_126_26);
    let p = p.mul_add(z, std::f32::consts::FRAC_2_SQRT_PI);
    let tail = normal(x.abs() * std::f32::consts::SQRT_2).tail;
    let far = (-2.0_f32).mul_add(tail, 1.0).copysign(x);
    if x.abs() >= 1.0 { far } else { x * p }
}

/// 1 − e^(−a) for a ≥ 0, within 3e-7 of itself: a series near zero, where the difference has no digits.
#[inline(always)]
pub fn one_minus_exp(a: f32) -> f32 {
    let q = (-1.0_f32 / 362_880.0).mul_add(a, 1.0 / 40_320.0);
    let q = q.mul_add(-a, 1.0 / 5_040.0);
    let q = q.mul_add(-a, 1.0 / 720.0);
    let q = q.mul_add(-a, 1.0 / 120.0);
    let q = q.mul_add(-a, 1.0 / 24.0);
    let q = q.mul_add(-a, 1.0 / 6.0);
    let q = q.mul_add(-a, 0.5);
    let near = (a * a).mul_add(-q, a);
    if a >= 0.7 { 1.0 - exp(-a) } else { near }
}

/// ln(1 + a) for |a| < 0.4143: Cephes' polynomial.
#[inline(always)]
fn ln_near_one(a: f32) -> f32 {
    let q = 7.037_683_6e-2_f32;
    let q = q.mul_add(a, -0.115_146_1);
    let q = q.mul_add(a, 0.116_769_99);
    let q = q.mul_add(a, -0.124_201_41);
    let q = q.mul_add(a, 0.142_493_23);
    let q = q.mul_add(a, -0.166_680_58);
    let q = q.mul_add(a, 0.200_007_14);
    let q = q.mul_add(a, -0.249_999_94);
    let q = q.mul_add(a, 0.333_333_3);
    let z = a * a;
    (a * z).mul_add(q, z.mul_add(-0.5, a))
}

/// ln v for normal v > 0, within 3e-7 of itself.
#[inline(always)]
pub fn ln(v: f32) -> f32 {
    /// The bits of √½: mantissas below it belong to the exponent before.
    const ROOT_HALF: u32 = 0x3f35_04f3;
    let bits = v.to_bits().wrapping_sub(ROOT_HALF);
    let exponent = ((bits as i32) >> 23) as f32;
    let mantissa = f32::from_bits((bits & 0x007f_ffff).wrapping_add(ROOT_HALF));
    let found = exponent.mul_add(std::f32::consts::LN_2, ln_near_one(mantissa - 1.0));
    // Bits say nothing of NaN.
    if v.is_nan() { v } else { found }
}

/// ln(1 + a) for a ≥ 0, within 3e-7 of itself.
#[inline(always)]
pub fn ln_1p(a: f32) -> f32 {
    if a >= 0.414_213_57 { ln(1.0 + a) } else { ln_near_one(a) }
}

/// arctan x within 3e-7 of itself: the argument is reduced to tan(π/8), where it is Cephes' polynomial.
#[inline(always)]
pub fn arctan(x: f32) -> f32 {
    use std::f32::consts::{FRAC_PI_2, FRAC_PI_4};
    let a = x.abs();
    let (far, middle) = (a > 2.414_213_7, a > 0.414_213_57);
    let reduced = if middle { (a - 1.0) / (a + 1.0) } else { a };
    let reduced = if far { -1.0 / a } else { reduced };
    let start = if middle { FRAC_PI_4 } else { 0.0 };
    let start = if far { FRAC_PI_2 } else { start };
    let z = reduced * reduced;
    let q = 8.053_744_5e-2_f32;
    let q = q.mul_add(z, -0.138_776_86);
    let q = q.mul_add(z, 0.199_777_1);
    let q = q.mul_add(z, -0.333_329_5);
    (start + (reduced * z).mul_add(q, reduced)).copysign(x)
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
    fn exp_below_has_the_bits_of_exp() {
        for x in samples().chain(near()).filter(|x| *x <= 88.0) {
            let (got, want) = (exp_below(x), exp(x));
            // Below -86, half of the result is no normal number any more and loses its last bit in `exp`.
            let fits = got.to_bits() == want.to_bits() || (x < -86.0 && (got - want).abs() <= 1e-44);
            assert!(fits, "exp_below({x}) = {got:e}, not {want:e}");
        }
        assert!(exp_below(f32::NAN).is_nan());
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
    fn functions_near_zero_and_far_away_are_within_their_errors() {
        type Pair = (fn(f32) -> f32, fn(f64) -> f64);
        let odd: [Pair; 3] = [(tanh, f64::tanh), (erf, libm::erf), (arctan, f64::atan)];
        let positive: [Pair; 2] = [(one_minus_exp, |a| -(-a).exp_m1()), (ln_1p, f64::ln_1p)];
        for x in samples().chain(near()).filter(|x| x.is_normal()) {
            let fits = |(own, of): Pair, x: f32| {
                let (got, want) = (f64::from(own(x)), of(f64::from(x)));
                assert!((got - want).abs() <= 3e-7 * want.abs(), "at {x:e}: {got:e}, not {want:e}");
            };
            odd.iter().for_each(|&pair| fits(pair, x));
            positive.iter().for_each(|&pair| fits(pair, x.abs()));
            fits((ln, f64::ln), x.abs());
        }
        for function in [tanh, erf, arctan, one_minus_exp, ln_1p, ln] {
            assert!(function(f32::NAN).is_nan());
        }
        assert_eq!([tanh, erf].map(|function| function(f32::NEG_INFINITY)), [-1.0, -1.0]);
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
