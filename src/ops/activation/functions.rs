//! The table of activation functions. A function is a row here and a WGSL file in `shaders/activation`. The configuration,
//! its documentation, the model, the names of runs and all checks read the table.

use super::host::{Gelu, GeluNew, Leaky, Loops, Relu};
use crate::words::{Pick, table};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

/// Everything the program knows about an activation function f(x, p).
pub struct Function {
    /// Its name in `model.activation_function`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// Its part of a configuration's name: `R` for SM+R. Empty if nothing is computed.
    pub label: &'static str,
    /// WGSL of `value(x, p)`, of `derivative(x, p)` with respect to x and, if p is learned, of `derivative_p(x, p)`. `None`
    /// for the identity, which records nothing.
    pub wgsl: Option<&'static str>,
    /// f(x, p).
    pub value: fn(f64, f64) -> f64,
    /// ∂f/∂x.
    pub derivative: fn(f64, f64) -> f64,
    pub parameter: Parameter,
    /// The same in f32, vectorised, for the CPU as a device. `None` computes there in f64, by the functions above.
    pub loops: Option<Loops>,
    /// Floating-point operations per element, counted in the shader.
    pub flops: u64,
}

/// What p is.
#[derive(Clone, Copy)]
pub enum Parameter {
    /// The function has none.
    Absent,
    /// `model.leaky_slope`.
    Fixed,
    /// Trained, from `model.slope_init`; with ∂f/∂p.
    Learned(fn(f64, f64) -> f64),
}

/// All activation functions, in the order in which messages list them.
pub const FUNCTIONS: &[Function] = &[
    // x·Φ(x), Φ(x) = ½(1 + erf(x/√2))
    Function {
        word: "gelu",
        about: "x·Φ(x), exactly",
        label: "G",
        wgsl: Some(include_str!("../../../shaders/activation/gelu.wgsl")),
        value: |x, _| x * below(x),
        derivative: |x, _| below(x) + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt(),
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<Gelu>()),
        flops: 24,
    },
    // GPT-2's: ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³)
    Function {
        word: "gelu_new",
        about: "GPT-2's approximation by tanh",
        label: "G",
        wgsl: Some(include_str!("../../../shaders/activation/gelu_new.wgsl")),
        value: |x, _| x * below_by_tanh(x),
        derivative: |x, _| {
            let below = below_by_tanh(x);
            below + x * below * (1.0 - below) * 2.0 * FRAC_2_PI.sqrt() * (1.0 + 3.0 * 0.044715 * x * x)
        },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<GeluNew>()),
        flops: 12,
    },
    Function {
        word: "relu",
        about: "max(x, 0)",
        label: "R",
        wgsl: Some(include_str!("../../../shaders/activation/relu.wgsl")),
        // Not max, which would turn NaN into 0.
        value: |x, _| if x < 0.0 { 0.0 } else { x },
        derivative: |x, _| if x > 0.0 { 1.0 } else { 0.0 },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<Relu>()),
        flops: 1,
    },
    // p·x below zero
    Function {
        word: "leaky_relu",
        about: "x, and `leaky_slope`·x below zero",
        label: "LeakyR",
        parameter: Parameter::Fixed,
        ..LEAKY
    },
    Function {
        word: "learnable_lrelu",
        about: "the same with a learned slope",
        label: "LearnableR",
        parameter: Parameter::Learned(|x, _| if x < 0.0 { x } else { 0.0 }),
        ..LEAKY
    },
    // The two matrices directly follow one another: the paper's "SM+LN" and "SM".
    Function {
        word: "none",
        about: "no activation, as in the paper's SM+LN and SM",
        label: "",
        wgsl: None,
        value: |x, _| x,
        derivative: |_, _| 1.0,
        parameter: Parameter::Absent,
        loops: None,
        flops: 0,
    },
];

const LEAKY: Function = Function {
    word: "",
    about: "",
    label: "",
    wgsl: Some(include_str!("../../../shaders/activation/leaky_relu.wgsl")),
    value: |x, p| if x >= 0.0 { x } else { p * x },
    derivative: |x, p| if x >= 0.0 { 1.0 } else { p },
    parameter: Parameter::Absent,
    loops: Some(Loops::of::<Leaky>()),
    flops: 1,
};

/// Φ(x), computed as erfc of the tail instead of 1 + erf, which keeps the precision far below zero.
fn below(x: f64) -> f64 {
    0.5 * libm::erfc(-x * FRAC_1_SQRT_2)
}

/// ½(1 + tanh u) of `gelu_new`.
fn below_by_tanh(x: f64) -> f64 {
    1.0 / (1.0 + (-2.0 * FRAC_2_PI.sqrt() * (x + 0.044715 * x * x * x)).exp())
}

/// An activation function, as a configuration picks it.
pub type Activation = Pick<Function>;

table!(Function, FUNCTIONS);

impl Function {
    /// Whether it computes nothing.
    pub fn is_identity(&self) -> bool {
        self.wgsl.is_none()
    }

    /// Whether p is trained.
    pub fn learns(&self) -> bool {
        matches!(self.parameter, Parameter::Learned(_))
    }

    /// The factor of negative x, if the function multiplies them by a constant and leaves all other x unchanged.
    pub fn slope_below_zero(&self, p: f64) -> Option<f64> {
        let slope = 0.0 - (self.value)(-1.0, p);
        let straight = |x: f64| ((self.value)(-x, p) + slope * x).abs() <= 1e-9 * x;
        let fits = [0.01, 0.5, 3.0, 40.0].iter().all(|&x| straight(x) && (self.value)(x, p) == x);
        (fits && !self.learns()).then_some(slope)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn straight_functions_are_told_from_others() {
        let slope = |word: &str| Activation::find(word).unwrap().slope_below_zero(0.25);
        assert_eq!((slope("relu"), slope("none"), slope("leaky_relu")), (Some(0.0), Some(1.0), Some(0.25)));
        assert_eq!((slope("gelu"), slope("gelu_new"), slope("learnable_lrelu")), (None, None, None));
    }
}
