//! The table of bounded functions. A function is a row here, a WGSL file in `shaders/bounded` and the same in f32 for the CPU.
//! The configuration, its documentation, the model, the names of runs and all checks read the table.
//!
//! All but tanh and erf are the candidates of arXiv 2512.10938, under the names of its code.

use super::host::{self, Loops};
use crate::words::{Pick, table};
use std::f64::consts::{FRAC_2_SQRT_PI, FRAC_PI_2};

/// Everything the program knows about a bounded function f(u).
pub struct Curve {
    /// Its name in `model.norm_function`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// WGSL of `value(u)` and `derivative(u)`.
    pub wgsl: &'static str,
    /// f(u).
    pub value: fn(f64) -> f64,
    /// f′(u). Where a slope is infinite at zero, |u| below `host::LEAST` counts as that.
    pub derivative: fn(f64) -> f64,
    /// The same in f32, vectorised, for the CPU as a device.
    pub loops: Loops,
    /// Floating-point operations per element, counted in the shader.
    pub flops: u64,
}

/// A bounded function, as a configuration picks it.
pub type NormFunction = Pick<Curve>;

macro_rules! wgsl {
    ($($name:literal),+) => { concat!($(include_str!(concat!("../../../shaders/bounded/", $name, ".wgsl"))),+) };
}

/// All bounded functions, in the order in which messages list them.
pub const FUNCTIONS: &[Curve] = &[
    Curve {
        word: "tanh",
        about: "tanh u, as in `dyt`",
        wgsl: wgsl!("tanh"),
        value: f64::tanh,
        derivative: |u| 1.0 / u.cosh().powi(2),
        loops: Loops::of::<host::Tanh>(),
        flops: 18,
    },
    Curve {
        word: "erf",
        about: "the error function, as in `derf`",
        wgsl: wgsl!("erf"),
        value: libm::erf,
        derivative: |u| FRAC_2_SQRT_PI * (-u * u).exp(),
        loops: Loops::of::<host::Erf>(),
        flops: 34,
    },
    Curve {
        word: "isru",
        about: "u/√(u² + 1)",
        wgsl: wgsl!("isru"),
        value: |u| u / (u * u + 1.0).sqrt(),
        derivative: |u| (u * u + 1.0).powf(-1.5),
        loops: Loops::of::<host::Isru>(),
        flops: 4,
    },
    Curve {
        word: "expsign",
        about: "sgn(u)·(1 − e^(−abs u))",
        wgsl: wgsl!("below", "expsign"),
        value: |u| -(-u.abs()).exp_m1().copysign(-u),
        derivative: |u| (-u.abs()).exp(),
        loops: Loops::of::<host::ExpSign>(),
        flops: 22,
    },
    Curve {
        word: "exproot",
        about: "sgn(u)·(1 − e^(−√abs u))",
        wgsl: wgsl!("below", "exproot"),
        value: |u| -(-u.abs().sqrt()).exp_m1().copysign(-u),
        derivative: |u| {
            let root = above_zero(u).sqrt();
            0.5 * (-root).exp() / root
        },
        loops: Loops::of::<host::ExpRoot>(),
        flops: 24,
    },
    Curve {
        word: "arctan",
        about: "arctan u, between ±π/2",
        wgsl: wgsl!("arctan"),
        value: f64::atan,
        derivative: |u| 1.0 / (1.0 + u * u),
        loops: Loops::of::<host::ArcTan>(),
        flops: 18,
    },
    Curve {
        word: "satursin",
        about: "sin of u clipped to ±π/2",
        wgsl: wgsl!("satursin"),
        value: |u| u.clamp(-FRAC_PI_2, FRAC_PI_2).sin(),
        derivative: |u| if u.abs() > FRAC_PI_2 { 0.0 } else { u.cos() },
        loops: Loops::of::<host::SaturSin>(),
        flops: 16,
    },
    Curve {
        word: "smoothsign",
        about: "u/(1 + abs u)",
        wgsl: wgsl!("smoothsign"),
        value: |u| u / (1.0 + u.abs()),
        derivative: |u| (1.0 + u.abs()).powi(-2),
        loops: Loops::of::<host::SmoothSign>(),
        flops: 3,
    },
    Curve {
        word: "saturlog",
        about: "sgn(u)·L/(1 + L), L = ln(1 + abs u)",
        wgsl: wgsl!("ln_1p", "saturlog"),
        value: |u| {
            let log = u.abs().ln_1p();
            (log / (1.0 + log)).copysign(u)
        },
        derivative: |u| 1.0 / ((1.0 + u.abs()) * (1.0 + u.abs().ln_1p()).powi(2)),
        loops: Loops::of::<host::SaturLog>(),
        flops: 26,
    },
    Curve {
        word: "relsign",
        about: "u/(1 + √(u² + 1))",
        wgsl: wgsl!("relsign"),
        value: |u| u / (1.0 + (u * u + 1.0).sqrt()),
        derivative: |u| {
            let root = (u * u + 1.0).sqrt();
            1.0 / (root * (1.0 + root))
        },
        loops: Loops::of::<host::RelSign>(),
        flops: 5,
    },
    Curve {
        word: "cubsign",
        about: "u³/(1 + abs u³)",
        wgsl: wgsl!("cubsign"),
        value: |u| u.powi(3) / (1.0 + u.abs().powi(3)),
        derivative: |u| 3.0 * u * u / (1.0 + u.abs().powi(3)).powi(2),
        loops: Loops::of::<host::CubSign>(),
        flops: 6,
    },
    Curve {
        word: "linear_clip",
        about: "u clipped to ±1",
        wgsl: wgsl!("linear_clip"),
        value: |u| u.clamp(-1.0, 1.0),
        derivative: |u| if u.abs() > 1.0 { 0.0 } else { 1.0 },
        loops: Loops::of::<host::LinearClip>(),
        flops: 2,
    },
    Curve {
        word: "logsign_clip",
        about: "sgn(u)·ln(1 + abs u) clipped to ±1",
        wgsl: wgsl!("ln_1p", "logsign_clip"),
        value: |u| u.abs().ln_1p().min(1.0).copysign(u),
        derivative: |u| if u.abs().ln_1p() > 1.0 { 0.0 } else { 1.0 / (1.0 + u.abs()) },
        loops: Loops::of::<host::LogSignClip>(),
        flops: 25,
    },
    Curve {
        word: "logquad_clip",
        about: "sgn(u)·ln(1 + u²) clipped to ±1",
        wgsl: wgsl!("ln_1p", "logquad_clip"),
        value: |u| (u * u).ln_1p().min(1.0).copysign(u),
        derivative: |u| if (u * u).ln_1p() > 1.0 { 0.0 } else { 2.0 * u.abs() / (1.0 + u * u) },
        loops: Loops::of::<host::LogQuadClip>(),
        flops: 26,
    },
    Curve {
        word: "power23_clip",
        about: "sgn(u)·(abs u)^⅔ clipped to ±1",
        wgsl: wgsl!("power23_clip"),
        value: |u| u.abs().powf(2.0 / 3.0).min(1.0).copysign(u),
        derivative: |u| if u.abs() > 1.0 { 0.0 } else { 2.0 / 3.0 * above_zero(u).powf(-1.0 / 3.0) },
        loops: Loops::of::<host::PowerClip>(),
        flops: 6,
    },
];

/// |u|, but no less than [`host::LEAST`].
fn above_zero(u: f64) -> f64 {
    u.abs().max(f64::from(host::LEAST))
}

table!(Curve, FUNCTIONS);

impl NormFunction {
    pub const TANH: Self = Self::at(0);
    pub const ERF: Self = Self::at(1);
    pub const ISRU: Self = Self::at(2);
    /// `linear_clip`, for `hard_tanh`.
    pub const LINEAR_CLIP: Self = Self::at(11);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        let named = [NormFunction::TANH, NormFunction::ERF, NormFunction::ISRU, NormFunction::LINEAR_CLIP];
        assert_eq!(named.map(|function| function.word), ["tanh", "erf", "isru", "linear_clip"]);
    }

    /// All are odd, grow, and stay between their bounds.
    #[test]
    fn functions_are_odd_and_bounded() {
        for curve in FUNCTIONS {
            let bound = if curve.word == "arctan" { FRAC_PI_2 } else { 1.0 };
            let mut before = 0.0;
            for u in (0..4000).map(|i| f64::from(i) * 0.01) {
                let (f, slope) = ((curve.value)(u), (curve.derivative)(u));
                assert_eq!((curve.value)(-u), -f, "{} at {u}", curve.word);
                assert_eq!((curve.derivative)(-u), slope, "{} at {u}", curve.word);
                assert!(f >= before && f <= bound && slope >= 0.0, "{} at {u}: {f}, {slope}", curve.word);
                before = f;
            }
        }
    }

    /// Every function and slope, from tiny to infinite arguments, against f64; NaN stays NaN.
    #[test]
    fn functions_agree_with_the_reference() {
        let sizes = (-300..=380).map(|i| 10_f64.powf(f64::from(i) / 10.0) as f32);
        let near = (1..40_000).map(|i| i as f32 * 2.5e-4);
        let points: Vec<f32> = sizes.chain(near).flat_map(|u| [u, -u]).chain([0.0]).collect();
        for curve in FUNCTIONS {
            let one = |u: f32, slope: bool| {
                let mut result = [f32::NAN];
                if slope {
                    (curve.loops.backward)(&mut result, [&[u], &[1.0], &[1.0]], [1.0, 0.0]);
                } else {
                    (curve.loops.forward)(&mut result, [&[u], &[1.0], &[0.0]], [1.0, 0.0]);
                }
                result[0]
            };
            for &u in &points {
                for (slope, of) in [(false, curve.value), (true, curve.derivative)] {
                    let (got, want) = (f64::from(one(u, slope)), of(f64::from(u)));
                    let clips = curve.word.ends_with("_clip")
                        && (0.99..1.01).contains(&(curve.value)(f64::from(u).abs()));
                    // Some units of the result; a root is an exponential of ln u / 3, which rounds by a unit of itself. A
                    // clip may be a unit to either side of where it is in f64. Rounding u² or √u before an exponential
                    // costs 6e-8·u² of it, and the last two roundings of a cosine near zero 1.2e-7.
                    let relative = 6e-7 + if u == 0.0 { 0.0 } else { 2e-8 * f64::from(u).abs().ln().abs() };
                    let absolute = 4e-7_f64.min(1.2e-7 + 2e-6 * want.abs().max(1e-2));
                    let fits = (got - want).abs() <= relative * want.abs() + absolute;
                    assert!(
                        fits || (slope && clips),
                        "{} at {u:e}, slope {slope}: {got:e}, not {want:e}",
                        curve.word
                    );
                }
            }
            assert!(one(f32::NAN, false).is_nan(), "{}", curve.word);
            // The slowest, saturlog, is 0.989 at the largest number.
            assert!(one(f32::INFINITY, false) > 0.98, "{}", curve.word);
        }
    }
}
