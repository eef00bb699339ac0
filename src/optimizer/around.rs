//! What stands around an update, whatever the optimizer: clipping by unit before it, and after it the return of the weights to their
//! norms, or of their vectors to length one.

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

/// Whether it holds weights that keep their norm: a matrix or a table.
fn keeps_norm(place: &Place<'_>) -> bool {
    place.parameter.shape.len() > 1 && place.parameter.decays
}

/// The weights that keep their norm.
fn kept<'a>(update: &'a Update<'_>) -> impl Iterator<Item = &'a Place<'a>> {
    update.places.iter().filter(|place| keeps_norm(place))
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

/// Records that every vector of weights along the residual stream gets length one: rows of tables and of matrices that write to the
/// stream, columns of matrices that read it. Before a run's first step, there is no verdict, and copies are made afterwards.
pub fn unite(
    tape: &mut Tape,
    parameters: TensorId,
    copies: Option<TensorId>,
    places: &[Place<'_>],
    verdict: Option<TensorId>,
) {
    for place in places.iter().filter(|place| keeps_norm(place)) {
        let declared = &place.parameter.declared;
        let units = match declared.filed {
            Filed::Matrix { .. } if !declared.writes => Units::Columns,
            _ => Units::Rows,
        };
        tape.enter(&place.parameter.name);
        let view = |tape: &mut Tape, arena| tape.view(arena, place.first, &place.parameter.shape);
        let weights = view(tape, parameters);
        let copy = copies.filter(|_| place.parameter.copied).map(|copies| view(tape, copies));
        tape.unit_norm(weights, copy, verdict, units);
    }
    tape.enter("");
}
