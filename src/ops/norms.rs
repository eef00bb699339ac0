//! The table of normalizations. A norm is a row here and an op of its own. The configuration, its documentation, the model
//! and the names of runs read the table.

use super::bhyt::First;
use super::bounded::{self, NormFunction};
use super::column_norm::{Rule, State};
use crate::tape::{DType, Tape, TensorId};
use crate::words::{Pick, table};

/// Everything the program knows about a normalization of rows.
pub struct Normalization {
    /// Its name in `model.norm`.
    pub word: &'static str,
    /// A description in one line of Markdown.
    pub about: &'static str,
    /// Its part of a configuration's name: `LN` for SM+LN+G.
    pub label: &'static str,
    /// What it learns, in the order of declaration.
    pub parameters: &'static [Learned],
    /// ε, where `model.layer_norm_epsilon` is not given.
    pub epsilon: f64,
    pub curve: Curve,
    /// The word of the norm before the head where `model.final_norm` is true; `None` for this norm.
    pub at_head: Option<&'static str>,
    /// The word of the norm that it removes site by site, if it does that.
    pub removes: Option<&'static str>,
    /// Records the norm; `None` for the identity, which records nothing.
    pub record: Option<Record>,
}

/// A learned vector or number of a norm.
#[derive(Debug, PartialEq)]
pub struct Learned {
    /// The suffix of the norm's name.
    pub name: &'static str,
    pub role: Role,
}

/// What a learned tensor is, and so its extent and its initial value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// γ, as wide as a row: ones.
    Gain,
    /// β, as wide as a row: zeros.
    Bias,
    /// α `[1]`: `model.alpha_init`, or `model.attention_alpha_init` before attention.
    Alpha,
    /// s `[1]`: zero.
    Shift,
    /// DyISRU's γ, as wide as a row: √d.
    RootGain,
    /// DyISRU's b `[1]`: d, so that α = 1/√b is that of rows with a mean square of one.
    Spread,
    /// SeeDNorm's α, as wide as a row: ones.
    Rescale,
    /// SeeDNorm's b, as wide as a row: zeros.
    Direction,
    /// BHyT's λ `[1]`: `model.lambda_init`.
    Lambda,
    /// The gate and the scale `[2]` of TaperNorm, which are a state and not trained: ones.
    Taper,
    /// The same of a fake norm, with a gate of its own.
    Held,
    /// The running mean square of each column, a state: ones.
    Running,
    /// What the backward pass of a norm of columns follows, a state as wide as a row: zeros.
    Drift,
    /// The latest four vectors of one kind, a state `[4, d]`: zeros.
    Window,
}

/// The bounded function of a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Curve {
    /// It is not one of those.
    None,
    Fixed(NormFunction),
    /// `model.norm_function`
    Picked,
}

/// A norm in its place in a model.
pub struct Place<'a> {
    /// Rows.
    pub x: TensorId,
    /// In order of declaration.
    pub learned: &'a [TensorId],
    pub epsilon: f32,
    /// BHyT's 1/κ.
    pub inverse_kappa: f32,
    /// What the block's first site hands on, for a second site that takes it.
    pub first: Option<First>,
    /// The bounded function, for norms that are one.
    pub function: Option<NormFunction>,
    /// In training, the schedule of norms of columns, where the model has one.
    pub schedule: Option<TensorId>,
    /// The result's element type.
    pub result: DType,
}

/// What a norm records.
pub struct Normed {
    /// The result.
    pub y: TensorId,
    /// `[rows]`: mean squares that a block's second site may take, if the norm computes them.
    pub variance: Option<TensorId>,
    /// `[rows]`: one over the deviation of each row, of a norm on its way out.
    pub scales: Option<TensorId>,
}

impl From<TensorId> for Normed {
    fn from(y: TensorId) -> Self {
        Self { y, variance: None, scales: None }
    }
}

pub type Record = fn(&mut Tape, &Place<'_>) -> Normed;

/// A normalization, as a configuration picks it.
pub type Norm = Pick<Normalization>;

const GAIN: Learned = Learned { name: "weight", role: Role::Gain };
const BIAS: Learned = Learned { name: "bias", role: Role::Bias };
const ALPHA: Learned = Learned { name: "alpha", role: Role::Alpha };
const TAPER: Learned = Learned { name: "taper", role: Role::Taper };
const RUNNING: Learned = Learned { name: "running", role: Role::Running };
const DRIFT: Learned = Learned { name: "drift", role: Role::Drift };
const HELD: Learned = Learned { name: "held", role: Role::Held };
const LAMBDA: Learned = Learned { name: "lam", role: Role::Lambda };
const SHIFT: Learned = Learned { name: "shift", role: Role::Shift };

const ALL: &[Normalization] = &[
    Normalization {
        word: "layer_norm",
        about: "(x − mean)/√(variance + ε)·γ + β, for each row",
        label: "LN",
        parameters: &[GAIN, BIAS],
        record: Some(|tape, of| {
            tape.layer_norm(of.x, (of.learned[0], of.learned[1]), of.epsilon, of.result).into()
        }),
        ..NONE
    },
    Normalization { at_head: Some("layer_norm"), ..NONE },
    Normalization {
        word: "rms_norm",
        about: "x/√(mean x² + ε)·γ, for each row",
        label: "RMS",
        parameters: &[GAIN],
        epsilon: 1e-6,
        record: Some(|tape, of| tape.rms_norm(of.x, of.learned[0], of.epsilon, of.result).into()),
        ..NONE
    },
    Normalization {
        word: "crms_norm",
        about: "RMSNorm of rows of mean zero without their last element: x/√((Σx² + (Σx)²)/(d + 1) + ε)·γ (arXiv 2305.14858)",
        label: "CRMS",
        parameters: &[GAIN],
        epsilon: 1e-6,
        record: Some(|tape, of| tape.crms_norm(of.x, of.learned[0], of.epsilon, of.result).into()),
        ..NONE
    },
    Normalization {
        word: "dyt",
        about: "tanh(α·x)·γ + β, element by element, with one learned α (arXiv 2503.10622)",
        label: "DyT",
        parameters: &[ALPHA, GAIN, BIAS],
        curve: Curve::Fixed(NormFunction::TANH),
        ..BOUNDED
    },
    Normalization {
        word: "derf",
        about: "erf(α·x + s)·γ + β, with one learned α and s (arXiv 2512.10938)",
        label: "Derf",
        curve: Curve::Fixed(NormFunction::ERF),
        ..BOUNDED
    },
    BOUNDED,
    Normalization {
        word: "hard_tanh",
        about: "x clipped to ±1, ·γ + β",
        label: "HardTanh",
        parameters: &[GAIN, BIAS],
        curve: Curve::Fixed(NormFunction::LINEAR_CLIP),
        ..BOUNDED
    },
    Normalization {
        word: "dyisru",
        about: "x/√(b + x²)·γ + β, element by element, with one learned b; γ starts at √d (arXiv 2503.21708)",
        label: "DyISRU",
        parameters: &[
            Learned { name: "spread", role: Role::Spread },
            Learned { name: "weight", role: Role::RootGain },
            BIAS,
        ],
        record: Some(|tape, of| {
            let [spread, gamma, beta] = [0, 1, 2].map(|i| of.learned[i]);
            let learned = bounded::Learned { gamma, beta, alpha: Some(spread), shift: None };
            tape.dyisru(of.x, learned, of.result).into()
        }),
        ..NONE
    },
    Normalization {
        word: "seed_norm",
        about: "(tanh(x·b)·α + γ)·x/√(mean x² + ε), with learned vectors α, b, γ (arXiv 2510.22777)",
        label: "SeeD",
        parameters: &[
            GAIN,
            Learned { name: "alpha", role: Role::Rescale },
            Learned { name: "beta", role: Role::Direction },
        ],
        epsilon: 1e-6,
        record: Some(|tape, of| {
            let learned = [0, 1, 2].map(|i| of.learned[i]);
            tape.seed_norm(of.x, learned, of.epsilon, of.result).into()
        }),
        ..NONE
    },
    Normalization {
        word: "bhyt",
        about: "tanh(λ·x/(κ·√(mean x² + ε)))·γ, with a learned λ; the second norm of a sequential block estimates the mean from the first's (arXiv 2601.09719)",
        label: "BHyT",
        parameters: &[LAMBDA, GAIN],
        epsilon: 1e-6,
        record: Some(|tape, of| {
            let (lambda, gamma) = (of.learned[0], of.learned[1]);
            let numbers = (of.epsilon, of.inverse_kappa);
            let (y, variance) = tape.bhyt(of.x, (gamma, lambda), numbers, of.first, of.result);
            Normed { y, variance, scales: None }
        }),
        ..NONE
    },
    Normalization {
        word: "taper_norm",
        about: "x·(g/√(mean x² + ε) + (1 − g)·c)·γ: RMSNorm until `taper_start`, then g falls to 0 by a cosine; c is the running mean of 1/√(mean x² + ε) until then; before the head stands RMSNorm (arXiv 2602.10408)",
        label: "Taper",
        parameters: &[GAIN, TAPER],
        epsilon: 1e-6,
        at_head: Some("rms_norm"),
        record: Some(|tape, of| {
            let (gamma, taper) = (of.learned[0], of.learned[1]);
            let (y, scales) = tape.tapered_rms_norm(of.x, gamma, taper, of.epsilon, of.result);
            Normed { y, variance: None, scales: Some(scales) }
        }),
        ..NONE
    },
    Normalization {
        word: "power_norm",
        about: "x̂/√(φ + ε)·γ + β, where x̂ is x/√(mean x² + ε) and φ is the running mean square of each column of x̂; in the first `train.norm_warmup` steps that of the micro-batch. Its backward pass is an approximation of its own (arXiv 2003.07845)",
        label: "PN",
        parameters: &[GAIN, BIAS, RUNNING, DRIFT],
        record: Some(|tape, of| {
            let (_, width) = tape.shape(of.x).as_matrix();
            let ones = tape.constant("ones", &[width], vec![1.0; width]);
            let scaled = tape.rms_norm(of.x, ones, of.epsilon, DType::F32);
            columns(tape, of, scaled, Rule::Power)
        }),
        ..NONE
    },
    Normalization {
        word: "unified_norm",
        about: "x/√(σ² + ε)·γ + β, where σ² is, for each column, the geometric mean of the mean squares of the latest four micro-batches; in the first `train.norm_warmup` steps the mean square of the micro-batch, outside of training a running mean. Its backward pass is an approximation of its own (arXiv 2208.01313)",
        label: "UN",
        parameters: &[
            GAIN,
            BIAS,
            RUNNING,
            DRIFT,
            Learned { name: "window_squares", role: Role::Window },
            Learned { name: "window_gradients", role: Role::Window },
        ],
        record: Some(|tape, of| columns(tape, of, of.x, Rule::Unified)),
        ..NONE
    },
    Normalization {
        word: "fake_layer_norm",
        about: "LayerNorm until its site is removed (`train.removal_start`), then (x − mean)/σ̄·γ + β, where σ̄ is the running mean of √(variance + ε) until then; values have a σ̄ of their own (arXiv 2507.02559; `normfree remove-norm` trains it)",
        label: "FakeLN",
        parameters: &[GAIN, BIAS, HELD],
        removes: Some("layer_norm"),
        record: Some(|tape, of| {
            let [gamma, beta, held] = [0, 1, 2].map(|i| of.learned[i]);
            let (y, scales) = tape.tapered_layer_norm(of.x, (gamma, beta), held, of.epsilon, of.result);
            Normed { y, variance: None, scales: Some(scales) }
        }),
        ..NONE
    },
    Normalization {
        word: "fake_rms_norm",
        about: "the same for RMSNorm: x/σ̄·γ, where σ̄ is the running mean of √(mean x² + ε)",
        label: "FakeRMS",
        parameters: &[GAIN, HELD],
        epsilon: 1e-6,
        removes: Some("rms_norm"),
        record: Some(|tape, of| {
            let (gamma, held) = (of.learned[0], of.learned[1]);
            let (y, scales) = tape.tapered_rms_norm(of.x, gamma, held, of.epsilon, of.result);
            Normed { y, variance: None, scales: Some(scales) }
        }),
        ..NONE
    },
];

/// A norm of the columns of `x`.
fn columns(tape: &mut Tape, of: &Place<'_>, x: TensorId, rule: Rule) -> Normed {
    let [gamma, beta, running, drift, windows @ ..] = of.learned else { unreachable!("γ, β and a state") };
    let windows = windows.first().zip(windows.get(1)).map(|(&squares, &gradients)| [squares, gradients]);
    let state = State { running: *running, drift: *drift, windows };
    tape.column_norm(x, (*gamma, *beta), (rule, &state), of.schedule, of.epsilon, of.result).into()
}

const NONE: Normalization = Normalization {
    word: "none",
    about: "no normalization",
    label: "",
    parameters: &[],
    epsilon: 1e-5,
    curve: Curve::None,
    at_head: None,
    removes: None,
    record: None,
};

const BOUNDED: Normalization = Normalization {
    word: "bounded",
    about: "f(α·x + s)·γ + β with the f of `norm_function`",
    label: "Bounded",
    parameters: &[ALPHA, SHIFT, GAIN, BIAS],
    curve: Curve::Picked,
    record: Some(|tape, of| {
        let function = of.function.expect("a bounded norm has a function");
        let (scalars, vectors) = of.learned.split_at(of.learned.len() - 2);
        let [alpha, shift] = [0, 1].map(|i| scalars.get(i).copied());
        let learned = bounded::Learned { gamma: vectors[0], beta: vectors[1], alpha, shift };
        tape.bounded(of.x, function, learned, of.result).into()
    }),
    ..NONE
};

table!(Normalization, ALL);

impl Norm {
    pub const LAYER_NORM: Self = Self::at(0);
    /// The identity: it computes nothing and has no parameters.
    pub const NONE: Self = Self::at(1);

    /// The norm before the head, if the blocks have this one.
    pub fn at_head(self) -> Self {
        self.at_head.map_or(self, |word| Self::find(word).expect("a word of this table"))
    }

    /// Whether it keeps statistics of columns, which training alone changes.
    pub fn keeps_statistics(self) -> bool {
        self.parameters.iter().any(|learned| learned.role == Role::Running)
    }

    /// The bounded function of a norm for which the configuration picks `picked`.
    pub fn function(self, picked: NormFunction) -> Option<NormFunction> {
        match self.curve {
            Curve::None => None,
            Curve::Fixed(function) => Some(function),
            Curve::Picked => Some(picked),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!((Norm::LAYER_NORM.word, Norm::NONE.word), ("layer_norm", "none"));
        let heads =
            Norm::all().map(|norm| (norm.word, norm.at_head().word)).filter(|(own, head)| own != head);
        assert_eq!(heads.collect::<Vec<_>>(), [("none", "layer_norm"), ("taper_norm", "rms_norm")]);
    }
}
