//! The table of activation functions. A function is a row here and a WGSL file in `shaders/activation`. The configuration,
//! its documentation, the model, the names of runs and all checks read the table.

use super::host::{Gelu, GeluNew, Leaky, Loops, Relu};
use super::smooth::{Crrelu, HardSwish, Helu, LeakyRelu2, Relu2, SELU_ALPHA, SELU_SCALE, Selu, Silu};
use crate::tape::{Tape, TensorId};
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
    /// An op of its own, for functions that learn more than a number or look at whole rows. The functions above are then those
    /// of its first parameters, for a reader.
    pub own: Option<Own>,
}

/// The op of an activation function that has one of its own.
#[derive(Clone, Copy)]
pub struct Own {
    pub parameters: &'static [OwnParameter],
    /// Records it for rows and the parameters.
    pub record: fn(&mut Tape, TensorId, &[TensorId]) -> TensorId,
    /// Whether it takes rows four columns at a time only.
    pub by_vectors: bool,
}

/// A parameter of such an op.
#[derive(Clone, Copy)]
pub struct OwnParameter {
    /// The suffix of its name.
    pub suffix: &'static str,
    /// Where its numbers start.
    pub starts: &'static [f64],
    /// Whether each unit has one of these, instead of all together.
    pub for_each_unit: bool,
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
        own: None,
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
        own: None,
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
        own: None,
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
    Function {
        word: "silu",
        about: "x·σ(x), also called Swish",
        label: "SiLU",
        wgsl: Some(include_str!("../../../shaders/activation/silu.wgsl")),
        value: |x, _| x * sigma(x),
        derivative: |x, _| sigma(x) + x * sigma(x) * sigma(-x),
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<Silu>()),
        flops: 10,
        own: None,
    },
    Function {
        word: "relu2",
        about: "max(x, 0)²",
        label: "R2",
        wgsl: Some(include_str!("../../../shaders/activation/relu2.wgsl")),
        value: |x, _| if x < 0.0 { 0.0 } else { x * x },
        derivative: |x, _| if x < 0.0 { 0.0 } else { 2.0 * x },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<Relu2>()),
        flops: 2,
        own: None,
    },
    Function {
        word: "leaky_relu2",
        about: "x², and (x/2)² below zero",
        label: "LeakyR2",
        wgsl: Some(include_str!("../../../shaders/activation/leaky_relu2.wgsl")),
        value: |x, _| if x < 0.0 { 0.25 * x * x } else { x * x },
        derivative: |x, _| if x < 0.0 { 0.5 * x } else { 2.0 * x },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<LeakyRelu2>()),
        flops: 3,
        own: None,
    },
    Function {
        word: "selu",
        about: "1.0507·x, and 1.0507·1.6733·(eˣ − 1) below zero (arXiv 1706.02515)",
        label: "SELU",
        wgsl: Some(include_str!("../../../shaders/activation/selu.wgsl")),
        value: |x, _| SELU_SCALE * if x < 0.0 { SELU_ALPHA * x.exp_m1() } else { x },
        derivative: |x, _| SELU_SCALE * if x < 0.0 { SELU_ALPHA * x.exp() } else { 1.0 },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<Selu>()),
        flops: 8,
        own: None,
    },
    Function {
        word: "hard_swish",
        about: "x·clamp(x + 3, 0, 6)/6 (arXiv 1905.02244)",
        label: "HS",
        wgsl: Some(include_str!("../../../shaders/activation/hard_swish.wgsl")),
        value: |x, _| x * (x + 3.0).clamp(0.0, 6.0) / 6.0,
        derivative: |x, _| {
            if x < -3.0 {
                0.0
            } else if x > 3.0 {
                1.0
            } else {
                (2.0 * x + 3.0) / 6.0
            }
        },
        parameter: Parameter::Absent,
        loops: Some(Loops::of::<HardSwish>()),
        flops: 5,
        own: None,
    },
    Function {
        word: "crrelu",
        about: "max(x, 0) + p·x·e^(−x²/2) with a learned p (arXiv 2405.12954)",
        label: "CRReLU",
        wgsl: Some(include_str!("../../../shaders/activation/crrelu.wgsl")),
        value: |x, p| (if x < 0.0 { 0.0 } else { x }) + p * x * (-0.5 * x * x).exp(),
        derivative: |x, p| f64::from(u8::from(x > 0.0)) + p * (1.0 - x * x) * (-0.5 * x * x).exp(),
        parameter: Parameter::Learned(|x, _| x * (-0.5 * x * x).exp()),
        loops: Some(Loops::of::<Crrelu>()),
        flops: 12,
        own: None,
    },
    Function {
        word: "helu",
        about: "max(x, 0), whose derivative is one from −`leaky_slope` on (arXiv 2411.10573)",
        label: "HeLU",
        wgsl: Some(include_str!("../../../shaders/activation/helu.wgsl")),
        value: |x, _| if x < 0.0 { 0.0 } else { x },
        derivative: |x, p| if x > -p { 1.0 } else { 0.0 },
        parameter: Parameter::Fixed,
        loops: Some(Loops::of::<Helu>()),
        flops: 1,
        own: None,
    },
    Function {
        word: "prelu",
        about: "x, and a·x below zero with a learned a for each unit, from 0.25 (arXiv 1502.01852)",
        label: "PReLU",
        value: |x, _| if x >= 0.0 { x } else { 0.25 * x },
        derivative: |x, _| if x >= 0.0 { 1.0 } else { 0.25 },
        own: Some(Own {
            parameters: &[OwnParameter { suffix: "weight", starts: &[0.25], for_each_unit: true }],
            record: |tape, x, learned| tape.prelu(x, learned[0]),
            by_vectors: true,
        }),
        ..OWN
    },
    Function {
        word: "poly_relu",
        about: "Σ aᵢ·max(x, 0)ⁱ for i from 0 to 3, with learned a, from 0, ⅓, ⅓, ⅓ (arXiv 2411.03884)",
        label: "PolyReLU",
        value: |x, _| (1..4).map(|i| (if x < 0.0 { 0.0 } else { x }).powi(i) / 3.0).sum(),
        derivative: |x, _| if x > 0.0 { (1.0 + 2.0 * x + 3.0 * x * x) / 3.0 } else { 0.0 },
        own: Some(Own {
            parameters: &[OwnParameter {
                suffix: "weight",
                starts: &[0.0, THIRD, THIRD, THIRD],
                for_each_unit: false,
            }],
            record: |tape, x, learned| tape.poly_relu(x, learned[0]),
            by_vectors: false,
        }),
        ..OWN
    },
    Function {
        word: "poly_norm",
        about: "Σ wᵢ·N(xⁱ) + b for i from 1 to 3, N(v) = v/√(mean v² + 1e-6) over a row's units, with learned w and b, from ⅓ and 0 (arXiv 2411.03884)",
        label: "PolyNorm",
        value: |x, _| x,
        derivative: |_, _| 1.0,
        own: Some(Own {
            parameters: &[
                OwnParameter { suffix: "weight", starts: &[THIRD; 3], for_each_unit: false },
                OwnParameter { suffix: "bias", starts: &[0.0], for_each_unit: false },
            ],
            record: |tape, x, learned| tape.poly_norm(x, learned[0], learned[1]),
            by_vectors: true,
        }),
        ..OWN
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
        own: None,
    },
];

const THIRD: f64 = 1.0 / 3.0;

/// What functions with an op of their own have in common.
const OWN: Function = Function {
    word: "",
    about: "",
    label: "",
    wgsl: None,
    value: |x, _| x,
    derivative: |_, _| 1.0,
    parameter: Parameter::Absent,
    loops: None,
    flops: 0,
    own: None,
};

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
    own: None,
};

/// The logistic function.
fn sigma(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

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
        self.wgsl.is_none() && self.own.is_none()
    }

    /// Whether it is an element at a time, and so has no op of its own.
    pub fn is_by_element(&self) -> bool {
        self.wgsl.is_some()
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
        (fits && !self.learns() && self.own.is_none()).then_some(slope)
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
