//! More activation functions on the CPU, in f32, one element at a time: see [`super::FUNCTIONS`].

use super::host::Element;
use crate::cores::functions::{exp, logistic};

/// λ of SELU, and its α: with them, mean 0 and variance 1 are a fixed point of a layer whose weights sum to zero and whose squares
/// sum to one (arXiv 1706.02515).
pub(super) const SELU_SCALE: f64 = 1.050_700_987_355_480_5;
pub(super) const SELU_ALPHA: f64 = 1.673_263_242_354_377_2;

/// x·σ(x)
pub struct Silu;

impl Element for Silu {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        x * logistic(x).0
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        // Beyond 40 the logistic function's slope times x is zero in f32.
        let (s, slope) = logistic(x);
        slope.mul_add(within(x, 40.0), s)
    }
}

/// max(x, 0)²
pub struct Relu2;

impl Element for Relu2 {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x * x }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.0 } else { 2.0 * x }
    }
}

/// x², and (x/2)² below zero
pub struct LeakyRelu2;

impl Element for LeakyRelu2 {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.25 * x * x } else { x * x }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.5 * x } else { 2.0 * x }
    }
}

/// SELU
pub struct Selu;

impl Selu {
    const SCALE: f32 = SELU_SCALE as f32;
    const ALPHA: f32 = SELU_ALPHA as f32;

    /// e^x − 1 below zero: a polynomial near zero, where the difference has few digits.
    #[inline(always)]
    fn expm1(x: f32) -> f32 {
        let near = 1.0_f32 / 720.0;
        let near = near.mul_add(x, 1.0 / 120.0);
        let near = near.mul_add(x, 1.0 / 24.0);
        let near = near.mul_add(x, 1.0 / 6.0);
        let near = near.mul_add(x, 0.5);
        let near = near.mul_add(x, 1.0) * x;
        if x > -0.3 { near } else { exp(x) - 1.0 }
    }
}

impl Element for Selu {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        let below = if x < 0.0 { x } else { 0.0 };
        Self::SCALE * if x < 0.0 { Self::ALPHA * Self::expm1(below) } else { x }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        let below = if x < 0.0 { x } else { 0.0 };
        Self::SCALE * if x < 0.0 { Self::ALPHA * exp(below) } else { 1.0 }
    }
}

/// x·clamp(x + 3, 0, 6)/6
pub struct HardSwish;

impl Element for HardSwish {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        let inside = x * (x + 3.0) / 6.0;
        let up = if x > 3.0 { x } else { inside };
        if x < -3.0 { 0.0 } else { up }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        let inside = (2.0 * x + 3.0) / 6.0;
        let up = if x > 3.0 { 1.0 } else { inside };
        if x < -3.0 { 0.0 } else { up }
    }
}

/// max(x, 0) + p·x·e^(−x²/2)
pub struct Crrelu;

impl Element for Crrelu {
    #[inline(always)]
    fn value(x: f32, p: f32) -> f32 {
        let above = if x < 0.0 { 0.0 } else { x };
        Self::by_p(x, p).mul_add(p, above)
    }

    #[inline(always)]
    fn derivative(x: f32, p: f32) -> f32 {
        let near = within(x, 15.0);
        let step = if x > 0.0 { 1.0 } else { 0.0 };
        (p * near.mul_add(-near, 1.0)).mul_add(exp(-0.5 * near * near), step)
    }

    #[inline(always)]
    fn by_p(x: f32, _: f32) -> f32 {
        // Beyond 15 it is zero in f32; a product with an infinite x must not be formed there.
        let near = within(x, 15.0);
        near * exp(-0.5 * near * near)
    }
}

/// max(x, 0), with the derivative one from −p on
pub struct Helu;

impl Element for Helu {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn derivative(x: f32, p: f32) -> f32 {
        if x > -p { 1.0 } else { 0.0 }
    }
}

/// x, no further from zero than `most`; NaN stays NaN.
#[inline(always)]
fn within(x: f32, most: f32) -> f32 {
    let x = if x > most { most } else { x };
    if x < -most { -most } else { x }
}
