//! What Muon's ops are about: scales, sizes, constants and operands.

use crate::tape::TensorId;
use crate::words::choice;

choice! {
    /// The factor of Muon's orthogonal update.
    Scale {
        /// 0.2·√max(rows, columns): entries of the size that AdamW's updates have, so that both may have one rate (arXiv
        /// 2502.16982)
        MatchRms = "match_rms",
        /// √max(1, outputs/inputs), as in Muon's first code, whose rate is about 0.02 where AdamW's is 3e-4
        Original = "original",
    }
}

/// a, b and c of p(A) = a·I + b·A + c·A².
pub const QUINTIC: [f64; 3] = [3.4445, -4.7750, 2.0315];

/// Steps of Newton and Schulz.
pub const STEPS: usize = 5;

/// Keeps a zero gradient from being divided by its norm.
pub(super) const TINY: f64 = 1e-7;

/// The same for the root of a neuron's second moment.
pub(super) const TINY_ROOT: f64 = 1e-10;

/// The matrices that one parameter holds side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parts {
    /// Rows of each.
    pub rows: usize,
    /// Columns of each.
    pub columns: usize,
    pub count: usize,
}

impl Parts {
    /// Elements of one.
    pub fn elements(self) -> usize {
        self.rows * self.columns
    }

    /// Elements from one to the next.
    pub fn padded(self) -> usize {
        self.elements().next_multiple_of(128)
    }
}

/// The constants of one parameter's update.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Constants {
    /// μ.
    pub momentum: f64,
    pub scale: Scale,
    /// ρ.
    pub ratio: f64,
    /// β₂ of NorMuon; `None` for Muon.
    pub neurons: Option<f64>,
    /// Whether weight decay applies.
    pub decays: bool,
}

/// The operands of one parameter's update.
#[derive(Clone, Copy, Debug)]
pub struct Operands {
    /// [r, c], as are the next two.
    pub gradient: TensorId,
    pub parameter: TensorId,
    pub momentum: TensorId,
    /// NorMuon's v `[c]`.
    pub neurons: Option<TensorId>,
    /// The parameter's f16 copy.
    pub copy: Option<TensorId>,
    /// f32 `[8]`: the third number is the decay, the last one the rate.
    pub hyper: TensorId,
    pub verdict: TensorId,
}

impl Scale {
    /// The factor of an orthogonal matrix with that many inputs and outputs.
    pub fn of(self, inputs: usize, outputs: usize) -> f64 {
        match self {
            Self::MatchRms => 0.2 * (inputs.max(outputs) as f64).sqrt(),
            Self::Original => (outputs as f64 / inputs as f64).max(1.0).sqrt(),
        }
    }
}

impl Parts {
    /// The constants of kernels that tell the matrices apart.
    pub(super) fn constants(self) -> Vec<(&'static str, f64)> {
        vec![("COLUMNS", self.columns as f64), ("ELEMENTS", self.elements() as f64)]
    }
}
