//! σReparam: what a matrix of a linear map is divided and multiplied by before products read it. See [`crate::ops::spectral_norm`].

use crate::observe::quantities::{GAINS, Quantity, SINGULAR_VALUES};
use crate::tape::{DType, Declaration, Start, Tape, TensorId};
use std::cell::Cell;

/// A declared gain and singular vector of a matrix.
pub(super) struct Scaling {
    gamma: TensorId,
    u: TensorId,
    result: DType,
    /// σ and γ of each of its linear maps.
    watched: Vec<[&'static Quantity; 2]>,
    layer: usize,
    /// The name of the observation.
    observation: String,
    /// The matrix that products read and its numbers, once they are recorded: a pass records them once.
    recorded: Cell<Option<(TensorId, TensorId)>>,
}

/// The linear maps of the matrix of a part of a block, side by side, as [`SINGULAR_VALUES`] counts them.
fn maps(part: &str, parts: usize) -> &'static [usize] {
    match part {
        "attention.qkv" => &[0, 1, 2],
        "attention.q" => &[0],
        "attention.k" => &[1],
        "attention.v" => &[2],
        "attention.gate" => &[3],
        "attention.out" => &[4],
        "mlp.gate" => &[5],
        "mlp.up" => &[6],
        "mlp.expand" if parts == 2 => &[5, 6],
        "mlp.expand" => &[6],
        "mlp.contract" => &[7],
        other => unreachable!("{other} is no matrix of a block"),
    }
}

impl Scaling {
    /// Declares with `declare` what scales the matrix `[rows, ..]` of a part of a block, named `name`; γ starts at `gamma`.
    pub fn declare(
        gamma: f64,
        (layer, result): (usize, DType),
        (part, name): (&'static str, &str),
        (rows, parts): (usize, usize),
        mut declare: impl FnMut(&str, &[usize], Declaration) -> TensorId,
    ) -> Self {
        let maps = maps(part, parts);
        let gain = Declaration::new(Start::Constant(gamma)).undecayed().added();
        let gamma = declare(&gain_of(name), &[maps.len()], gain);
        let vector = Declaration::new(Start::Normal { spread: 1.0 }).undecayed().added();
        let vector = Declaration { singular_of: Some(format!("{name}.weight")), ..vector };
        let u = declare(&format!("{name}.u"), &[maps.len(), rows], vector);
        Self {
            gamma,
            u,
            result,
            watched: maps.iter().map(|&map| [SINGULAR_VALUES[map], GAINS[map]]).collect(),
            layer,
            observation: format!("singular values of {name}"),
            recorded: Cell::new(None),
        }
    }

    /// The scaled `matrix`.
    pub fn apply(&self, tape: &mut Tape, matrix: TensorId) -> TensorId {
        if let Some((scaled, _)) = self.recorded.get() {
            return scaled;
        }
        let recorded = tape.spectral_norm(matrix, self.gamma, self.u, self.result);
        self.recorded.set(Some(recorded));
        recorded.0
    }

    /// Records what is observed of it, behind [`Self::apply`].
    pub fn observe(&self, tape: &mut Tape) {
        let Some((_, numbers)) = self.recorded.get() else { return };
        let dims = tape.shape(numbers).dims().to_vec();
        let out = tape.observation(&self.observation, &dims);
        let maps = self.watched.len();
        for (at, [sigma, gamma]) in self.watched.iter().enumerate() {
            tape.watch(out, sigma, self.layer, at..at + 1);
            tape.watch(out, gamma, self.layer, 2 * maps + at..2 * maps + at + 1);
        }
        tape.scaled_into(numbers, 1.0, out);
    }
}

/// The name of the gains of the matrix of a part named `name`.
pub(super) fn gain_of(name: &str) -> String {
    format!("{name}.gamma")
}
