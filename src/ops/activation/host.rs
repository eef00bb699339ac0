//! The activation functions on the CPU, in f32: loops over slices, which the compiler vectorises.

use crate::cores::functions::{logistic, normal, sum, within};
use crate::cores::{BLOCK, simd};
use rayon::prelude::*;

/// A function's loops.
#[derive(Clone, Copy)]
pub struct Loops {
    /// y from x and p.
    value: fn(&mut [f32], &[f32], f32),
    /// dx from x, dy and p.
    gradient: fn(&mut [f32], [&[f32]; 2], f32),
    /// Σ dy·∂f/∂p from x, dy and p.
    parameter: fn([&[f32]; 2], f32) -> f32,
}

/// One element of an activation function; see [`Function`](super::Function).
pub trait Element {
    fn value(x: f32, p: f32) -> f32;
    fn derivative(x: f32, p: f32) -> f32;
    /// ∂f/∂p, where p is trained.
    fn by_p(_x: f32, _p: f32) -> f32 {
        0.0
    }
}

impl Loops {
    /// The loops over an element.
    pub const fn of<F: Element>() -> Self {
        Self { value: value::<F>, gradient: gradient::<F>, parameter: parameter::<F> }
    }

    /// y from x and p, on this thread.
    pub fn row(&self, y: &mut [f32], x: &[f32], p: f32) {
        (self.value)(y, x, p);
    }

    /// dx from x, dy and p, on this thread.
    pub fn row_gradient(&self, dx: &mut [f32], rows: [&[f32]; 2], p: f32) {
        (self.gradient)(dx, rows, p);
    }

    /// y from x and p.
    pub fn values(&self, y: &mut [f32], x: &[f32], p: f32) {
        y.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK)).for_each(|(y, x)| (self.value)(y, x, p));
    }

    /// dx from x, dy and p.
    pub fn gradients(&self, dx: &mut [f32], x: &[f32], dy: &[f32], p: f32) {
        let blocks = dx.par_chunks_mut(BLOCK).zip(x.par_chunks(BLOCK).zip(dy.par_chunks(BLOCK)));
        blocks.for_each(|(dx, (x, dy))| (self.gradient)(dx, [x, dy], p));
    }

    /// Σ dy·∂f/∂p: the sums of blocks, added in their order.
    pub fn parameter(&self, x: &[f32], dy: &[f32], p: f32) -> f32 {
        let blocks = x.par_chunks(BLOCK).zip(dy.par_chunks(BLOCK));
        let sums: Vec<f32> = blocks.map(|(x, dy)| (self.parameter)([x, dy], p)).collect();
        sums.into_iter().map(f64::from).sum::<f64>() as f32
    }
}

fn value<F: Element>(y: &mut [f32], x: &[f32], p: f32) {
    simd(
        #[inline(always)]
        || y.iter_mut().zip(x).for_each(|(y, &x)| *y = F::value(x, p)),
    );
}

fn gradient<F: Element>(dx: &mut [f32], [x, dy]: [&[f32]; 2], p: f32) {
    simd(
        #[inline(always)]
        || {
            for (dx, (&x, dy)) in dx.iter_mut().zip(x.iter().zip(dy)) {
                *dx = dy * F::derivative(x, p);
            }
        },
    );
}

fn parameter<F: Element>(rows: [&[f32]; 2], p: f32) -> f32 {
    simd(
        #[inline(always)]
        || sum(rows, |[x, dy]| dy * F::by_p(x, p)),
    )
}

/// x·Φ(x)
pub struct Gelu;

impl Element for Gelu {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        let tail = normal(x.abs()).tail;
        x * if x < 0.0 { tail } else { 1.0 - tail }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        /// 1/√(2π)
        const PEAK: f32 = 0.398_942_3;
        let near = normal(x.abs());
        let below = if x < 0.0 { near.tail } else { 1.0 - near.tail };
        (x * PEAK).mul_add(near.bell, below)
    }
}

/// x·s(v), with the logistic function s of v = 2√(2/π)·(x + 0.044715x³)
pub struct GeluNew;

impl GeluNew {
    /// 2√(2/π)
    const FACTOR: f32 = 1.595_769;
    const CUBIC: f32 = 0.044_715;

    #[inline(always)]
    fn inner(x: f32) -> f32 {
        Self::FACTOR * x * (x * x).mul_add(Self::CUBIC, 1.0)
    }
}

impl Element for GeluNew {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        x * logistic(Self::inner(x)).0
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        // Beyond 20 the slope is 0 or 1 in f32; a product of a large and a tiny number must not be formed there.
        let near = within(x, 20.0);
        let (s, slope) = logistic(Self::inner(near));
        let inner = Self::FACTOR * (near * near).mul_add(3.0 * Self::CUBIC, 1.0);
        (near * slope).mul_add(inner, s)
    }
}

/// max(x, 0)
pub struct Relu;

impl Element for Relu {
    #[inline(always)]
    fn value(x: f32, _: f32) -> f32 {
        if x < 0.0 { 0.0 } else { x }
    }

    #[inline(always)]
    fn derivative(x: f32, _: f32) -> f32 {
        if x > 0.0 { 1.0 } else { 0.0 }
    }
}

/// x, and p·x below zero
pub struct Leaky;

impl Element for Leaky {
    #[inline(always)]
    fn value(x: f32, p: f32) -> f32 {
        if x >= 0.0 { x } else { p * x }
    }

    #[inline(always)]
    fn derivative(x: f32, p: f32) -> f32 {
        if x >= 0.0 { 1.0 } else { p }
    }

    #[inline(always)]
    fn by_p(x: f32, _: f32) -> f32 {
        if x < 0.0 { x } else { 0.0 }
    }
}
