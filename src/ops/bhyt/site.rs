//! A place where BHyT stands, and its numbers.

use crate::tape::TensorId;

/// The numbers of a site that are not learned, and whether it is given v.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Site {
    pub epsilon: f32,
    /// 1/κ
    pub inverse: f32,
    pub given: bool,
}

/// What the second site of a block is given.
#[derive(Clone, Copy, Debug)]
pub struct First {
    /// `[rows]`
    pub variance: TensorId,
    /// `[1]`: k
    pub added: TensorId,
    /// `[1]`: λ₁
    pub lambda: TensorId,
}

impl Site {
    /// r for a v of that row.
    pub(super) fn scale(self, v: f64, added: f64) -> f64 {
        f64::from(self.inverse) / (v + added + f64::from(self.epsilon)).sqrt()
    }

    /// dv from r and s of its row.
    pub(super) fn pull(self, lambda: f64, r: f64, s: f64) -> f64 {
        -0.5 * lambda * s * r * (r / f64::from(self.inverse)).powi(2)
    }

    /// The same in f32.
    pub(super) fn scale_f32(self, v: f32, added: f32) -> f32 {
        self.inverse / (v + added + self.epsilon).sqrt()
    }

    /// The same in f32.
    pub(super) fn pull_f32(self, lambda: f32, r: f32, s: f32) -> f32 {
        let ratio = r / self.inverse;
        -0.5 * lambda * s * r * ratio * ratio
    }
}
