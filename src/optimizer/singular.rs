//! The singular vectors of matrices that are divided by their singular values: a power iteration of each, after an update or before a
//! run's first step.

use super::rule::Place;
use crate::tape::{Tape, TensorId};

/// Power iterations before the first step. An estimate of the largest singular value of random matrices is then within a percent.
pub const ITERATIONS: usize = 100;

/// Records one power iteration of every singular vector in the arena `parameters`. A closed verdict leaves all unchanged.
pub fn iterate(tape: &mut Tape, parameters: TensorId, places: &[Place<'_>], verdict: Option<TensorId>) {
    for vector in places {
        let Some(name) = &vector.parameter.declared.singular_of else { continue };
        let matrix =
            places.iter().find(|place| place.parameter.name == *name).expect("the matrix of a vector");
        tape.enter(name);
        let [w, u] = [matrix, vector].map(|of| tape.view(parameters, of.first, &of.parameter.shape));
        tape.power_iteration(w, u, verdict);
    }
    tape.enter("");
}
