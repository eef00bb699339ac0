//! Bounded functions on the CPU, in f32: loops over rows, which the compiler vectorises.

use crate::cores::functions::{arctan, erf, exp, ln, ln_1p, one_minus_exp, tanh, within};
use crate::cores::{dot, rows_per_block, simd};
use rayon::prelude::*;

/// A function's loops over whole rows. α and s are given as a pair.
#[derive(Clone, Copy)]
pub struct Loops {
    /// y from x, γ and β.
    pub(super) forward: fn(&mut [f32], [&[f32]; 3], [f32; 2]),
    /// dx from x, γ and dy.
    pub(super) backward: fn(&mut [f32], [&[f32]; 3], [f32; 2]),
    /// Adds to the sums over rows, from x and dy.
    parameters: fn(&mut Sums, [&[f32]; 2], [f32; 2]),
}

/// Sums over rows, for each column.
struct Sums {
    /// Σ dy∘f(u)
    gamma: Vec<f32>,
    /// Σ dy
    beta: Vec<f32>,
    /// Σ dy∘f′(u)∘x
    alpha: Vec<f32>,
    /// Σ dy∘f′(u)
    shift: Vec<f32>,
}

/// One element of a bounded function.
pub trait Element {
    fn value(u: f32) -> f32;
    fn derivative(u: f32) -> f32;
}

impl Loops {
    /// The loops over an element.
    pub const fn of<F: Element>() -> Self {
        Self { forward: forward::<F>, backward: backward::<F>, parameters: parameters::<F> }
    }

    /// y from x, γ, β, and α and s.
    pub fn forward(&self, width: usize, y: &mut [f32], rows: [&[f32]; 3], scalars: [f32; 2]) {
        let [x, gamma, beta] = rows;
        let block = rows_per_block(width) * width;
        let blocks = y.par_chunks_mut(block).zip(x.par_chunks(block));
        blocks.for_each(|(y, x)| (self.forward)(y, [x, gamma, beta], scalars));
    }

    /// dx from x, γ, dy, α and s, and what is added to it.
    pub fn backward(
        &self,
        width: usize,
        dx: &mut [f32],
        [x, gamma, dy]: [&[f32]; 3],
        scalars: [f32; 2],
        addend: Option<&[f32]>,
    ) {
        let block = rows_per_block(width) * width;
        dx.par_chunks_mut(block).enumerate().for_each(|(i, dx)| {
            let own = i * block..i * block + dx.len();
            (self.backward)(dx, [&x[own.clone()], gamma, &dy[own.clone()]], scalars);
            if let Some(addend) = addend {
                let addend = &addend[own];
                simd(
                    #[inline(always)]
                    || dx.iter_mut().zip(addend).for_each(|(dx, addend)| *dx += addend),
                );
            }
        });
    }

    /// Adds to dγ, dβ and, where there are, dα times `by_given` and ds, from x, γ, dy, α and s. Each block of rows has sums of its own, which
    /// are added in their order.
    pub fn parameters(
        &self,
        width: usize,
        outputs: &mut [&mut [f32]],
        [x, gamma, dy]: [&[f32]; 3],
        scalars: [f32; 2],
        by_given: f64,
    ) {
        let block = rows_per_block(width).max(32) * width;
        let sums = x.par_chunks(block).zip(dy.par_chunks(block)).map(|(x, dy)| {
            let zeros = || vec![0.0; width];
            let mut sums = Sums { gamma: zeros(), beta: zeros(), alpha: zeros(), shift: zeros() };
            (self.parameters)(&mut sums, [x, dy], scalars);
            sums
        });
        let mut totals = [0.0_f64; 2];
        for sums in sums.collect::<Vec<_>>() {
            for (to, from) in outputs.iter_mut().zip([&sums.gamma, &sums.beta]) {
                to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
            }
            for (total, columns) in totals.iter_mut().zip([&sums.alpha, &sums.shift]) {
                *total += dot(columns, gamma);
            }
        }
        totals[0] *= by_given;
        for (to, total) in outputs[2..].iter_mut().zip(totals) {
            to[0] = (f64::from(to[0]) + total) as f32;
        }
    }
}

fn forward<F: Element>(y: &mut [f32], [x, gamma, beta]: [&[f32]; 3], [alpha, shift]: [f32; 2]) {
    let width = gamma.len();
    simd(
        #[inline(always)]
        || {
            for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                for ((y, x), (gamma, beta)) in y.iter_mut().zip(x).zip(gamma.iter().zip(beta)) {
                    *y = F::value(alpha.mul_add(*x, shift)).mul_add(*gamma, *beta);
                }
            }
        },
    );
}

fn backward<F: Element>(dx: &mut [f32], [x, gamma, dy]: [&[f32]; 3], [alpha, shift]: [f32; 2]) {
    let width = gamma.len();
    simd(
        #[inline(always)]
        || {
            let rows = dx.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(dy.chunks_exact(width));
            for ((dx, x), dy) in rows {
                for ((dx, x), (gamma, dy)) in dx.iter_mut().zip(x).zip(gamma.iter().zip(dy)) {
                    *dx = alpha * F::derivative(alpha.mul_add(*x, shift)) * gamma * dy;
                }
            }
        },
    );
}

fn parameters<F: Element>(sums: &mut Sums, [x, dy]: [&[f32]; 2], [alpha, shift]: [f32; 2]) {
    let width = sums.gamma.len();
    let Sums { gamma: by_gamma, beta: by_beta, alpha: by_alpha, shift: by_shift } = sums;
    simd(
        #[inline(always)]
        || {
            for (x, dy) in x.chunks_exact(width).zip(dy.chunks_exact(width)) {
                let vectors = by_gamma.iter_mut().zip(by_beta.iter_mut());
                let scalars = by_alpha.iter_mut().zip(by_shift.iter_mut());
                for (((gamma, beta), (scale, offset)), (x, dy)) in vectors.zip(scalars).zip(x.iter().zip(dy))
                {
                    let u = alpha.mul_add(*x, shift);
                    let slope = dy * F::derivative(u);
                    *gamma = F::value(u).mul_add(*dy, *gamma);
                    *beta += dy;
                    *scale = slope.mul_add(*x, *scale);
                    *offset += slope;
                }
            }
        },
    );
}

/// The least |u| in slopes that are infinite at zero.
pub const LEAST: f32 = 1e-12;

/// |u|, but no less than [`LEAST`]; NaN stays.
#[inline(always)]
fn above_zero(u: f32) -> f32 {
    if u.abs() < LEAST { LEAST } else { u.abs() }
}

/// Declares an element of each function.
macro_rules! elements {
    ($($name:ident: |$u:ident| $value:expr, |$v:ident| $derivative:expr;)+) => {
        $(
            pub struct $name;

            impl Element for $name {
                #[inline(always)]
                fn value($u: f32) -> f32 {
                    $value
                }

                #[inline(always)]
                fn derivative($v: f32) -> f32 {
                    $derivative
                }
            }
        )+
    };
}

elements! {
    Tanh: |u| tanh(u), |u| {
        let e = exp(-2.0 * u.abs());
        let r = 1.0 / (1.0 + e);
        4.0 * e * r * r
    };
    Erf: |u| erf(u), |u| std::f32::consts::FRAC_2_SQRT_PI * exp(-u * u);
    Isru: |u| {
        let c = within(u, 1e6);
        c / c.mul_add(c, 1.0).sqrt()
    }, |u| {
        let c = within(u, 1e6);
        let r = 1.0 / c.mul_add(c, 1.0).sqrt();
        r * r * r
    };
    ExpSign: |u| one_minus_exp(u.abs()).copysign(u), |u| exp(-u.abs());
    ExpRoot: |u| one_minus_exp(u.abs().sqrt()).copysign(u), |u| {
        let root = above_zero(u).sqrt();
        0.5 * exp(-root) / root
    };
    ArcTan: |u| arctan(u), |u| {
        let c = within(u, 1e12);
        1.0 / c.mul_add(c, 1.0)
    };
    SaturSin: |u| {
        let c = within(u, std::f32::consts::FRAC_PI_2);
        let z = c * c;
        let q = (1.0_f32 / 6_227_020_800.0).mul_add(z, -1.0 / 39_916_800.0);
        let q = q.mul_add(z, 1.0 / 362_880.0);
        let q = q.mul_add(z, -1.0 / 5_040.0);
        let q = q.mul_add(z, 1.0 / 120.0);
        let q = q.mul_add(z, -1.0 / 6.0);
        (c * z).mul_add(q, c)
    }, |u| {
        let c = within(u, std::f32::consts::FRAC_PI_2);
        let z = c * c;
        let q = (1.0_f32 / 479_001_600.0).mul_add(z, -1.0 / 3_628_800.0);
        let q = q.mul_add(z, 1.0 / 40_320.0);
        let q = q.mul_add(z, -1.0 / 720.0);
        let q = q.mul_add(z, 1.0 / 24.0);
        let q = q.mul_add(z, -0.5);
        if u.abs() > std::f32::consts::FRAC_PI_2 { 0.0 } else { z.mul_add(q, 1.0) }
    };
    SmoothSign: |u| {
        let c = within(u, 1e12);
        c / (1.0 + c.abs())
    }, |u| {
        let r = 1.0 / (1.0 + u.abs());
        r * r
    };
    SaturLog: |u| {
        let log = ln_1p(within(u, 3e38).abs());
        (log / (1.0 + log)).copysign(u)
    }, |u| {
        let a = within(u, 3e38).abs();
        let r = 1.0 / (1.0 + ln_1p(a));
        r * r / (1.0 + a)
    };
    RelSign: |u| {
        let c = within(u, 1e12);
        c / (1.0 + c.mul_add(c, 1.0).sqrt())
    }, |u| {
        let c = within(u, 1e12);
        let root = c.mul_add(c, 1.0).sqrt();
        1.0 / (root * (1.0 + root))
    };
    CubSign: |u| {
        let c = within(u, 1e5);
        let cube = c * c * c;
        cube / (1.0 + cube.abs())
    }, |u| {
        let c = within(u, 1e5);
        let r = 1.0 / (1.0 + (c * c * c).abs());
        3.0 * c * c * r * r
    };
    LinearClip: |u| within(u, 1.0), |u| if u.abs() > 1.0 { 0.0 } else { 1.0 };
    LogSignClip: |u| within(ln_1p(within(u, 4.0).abs()), 1.0).copysign(u), |u| {
        let a = within(u, 4.0).abs();
        if ln_1p(a) > 1.0 { 0.0 } else { 1.0 / (1.0 + a) }
    };
    LogQuadClip: |u| {
        let c = within(u, 4.0);
        within(ln_1p(c * c), 1.0).copysign(u)
    }, |u| {
        let c = within(u, 4.0);
        if ln_1p(c * c) > 1.0 { 0.0 } else { 2.0 * c.abs() / c.mul_add(c, 1.0) }
    };
    PowerClip: |u| {
        let c = within(u, 1.0);
        let power = exp(2.0 / 3.0 * ln(above_zero(c))).copysign(c);
        // Below, the power is less than 1e-8, and zero stays zero.
        if c.abs() < LEAST { c } else { power }
    }, |u| {
        let power = 2.0 / 3.0 * exp(-1.0 / 3.0 * ln(above_zero(within(u, 1.0))));
        if u.abs() > 1.0 { 0.0 } else { power }
    };
}
