//! The table of normalizations. A norm is a row here and an op of its own. The configuration, its documentation, the model
//! and the names of runs read the table.

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
    /// The learned vectors, each as wide as a row: the suffix of the norm's name, and the initial value.
    pub parameters: &'static [(&'static str, f64)],
    /// Records the norm; `None` for the identity, which records nothing.
    pub record: Option<Record>,
}

/// Takes the rows x, the vectors in order of declaration, ε, and the result's element type.
pub type Record = fn(&mut Tape, TensorId, &[TensorId], f32, DType) -> TensorId;

/// A normalization, as a configuration picks it.
pub type Norm = Pick<Normalization>;

const ALL: &[Normalization] = &[
    Normalization {
        word: "layer_norm",
        about: "(x − mean)/√(variance + ε)·γ + β, for each row",
        label: "LN",
        parameters: &[("weight", 1.0), ("bias", 0.0)],
        record: Some(|tape, x, vectors, epsilon, result| {
            tape.layer_norm(x, (vectors[0], vectors[1]), epsilon, result)
        }),
    },
    Normalization { word: "none", about: "no normalization", label: "", parameters: &[], record: None },
];

table!(Normalization, ALL);

impl Norm {
    pub const LAYER_NORM: Self = Self::at(0);
    /// The identity: it computes nothing and has no parameters.
    pub const NONE: Self = Self::at(1);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_stand_for_their_rows() {
        assert_eq!((Norm::LAYER_NORM.word, Norm::NONE.word), ("layer_norm", "none"));
    }
}
