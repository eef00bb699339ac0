//! What stands around an update, whatever the optimizer: clipping by unit before it, and the return of the weights to their norms
//! after it.

use super::rule::{Place, Update};
use crate::ops::unit_clip::Units;
use crate::tape::{Filed, Tape, TensorId};

/// Records adaptive clipping of every parameter's gradient: see [`crate::ops::unit_clip`].
pub fn clip_units(tape: &mut Tape, update: &Update<'_>, most: f64) {
    for place in update.places {
        let units = match (place.parameter.shape.len(), place.parameter.declared.filed) {
            (1, _) => Units::Whole,
            // [in, out], or [heads, positions].
            (_, Filed::Matrix { .. } | Filed::PlainNow) => Units::Columns,
            _ => Units::Rows,
        };
        let [gradient, weights] = [update.gradients, update.parameters]
            .map(|arena| tape.view(arena, place.first, &place.parameter.shape));
        tape.unit_clip(gradient, weights, update.verdict, units, most);
    }
}

/// The weights that keep their norm: matrices and tables.
fn kept<'a>(update: &'a Update<'_>) -> impl Iterator<Item = &'a Place<'a>> {
    update.places.iter().filter(|place| place.parameter.shape.len() > 1 && place.parameter.decays)
}

/// Records the norms of those weights.
pub fn measure(tape: &mut Tape, update: &Update<'_>) -> Vec<TensorId> {
    let mut norms = Vec::new();
    for place in kept(update) {
        tape.enter(&place.parameter.name);
        let weights = tape.view(update.parameters, place.first, &[place.parameter.elements()]);
        norms.push(tape.weight_norm(weights));
    }
    tape.enter("");
    norms
}

/// Records their return to these norms.
pub fn project(tape: &mut Tape, update: &Update<'_>, norms: &[TensorId]) {
    for (place, &norm) in kept(update).zip(norms) {
        let elements = [place.parameter.elements()];
        let weights = tape.view(update.parameters, place.first, &elements);
        let copies = update.copies.filter(|_| place.parameter.copied);
        let copy = copies.map(|copies| tape.view(copies, place.first, &elements));
        tape.project(weights, copy, norm, update.verdict);
    }
}
