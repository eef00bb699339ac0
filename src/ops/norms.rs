//! The table of normalizations. A norm is a row here and an op of its own. The configuration, its documentation, the model
//! and the names of runs read the table.

use crate::tape::{DType, Tape, TensorId};
use crate::words::{Pick, table};

/// What the program knows of a normalization of rows.
pub struct Normalization {
    /// What `model.norm` calls it.
    pub word: &'static str,
    /// What it is, in one line of Markdown.
    pub about: &'static str,
    /// What it adds to a configuration's name: `LN` for SM+LN+G.
    pub label: &'static str,
    /// The vectors that it learns, as wide as a row: what stands behind the norm's name, and the value they start at.
    pub parameters: &'static [(&'static str, f64)],
    /// Records it; `None` for the identity, of which nothing is recorded.
    pub record: Option<Record>,
}

/// Of rows x with the vectors, in the order of their declaration, and ε; the result's element type.
pub type Record = fn(&mut Tape, TensorId, &[TensorId], f32, DType) -> TensorId;

/// One of them, as a configuration picks it.
pub type Norm = Pick<Normalization>;

const ALL: &[Normalization] = &[
    Normalization {
        word: "layer_norm",
        about: "(x − mean)/√(variance + ε)·γ + β, of each row",
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
    /// Nothing is computed and nothing is trained.
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
