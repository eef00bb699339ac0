//! How much an update changes the matrices of each layer, whatever the optimizer: ‖ΔW‖/‖W‖.
//!
//! The difference is that of the weights themselves, behind clipping, decay and projection, so nothing is assumed about the rule. For
//! that, updates are recorded layer by layer, and an observer keeps the matrices of the one layer whose update comes next: memory for
//! one layer, within what the micro-batch needs anyway. Steps that nobody looks at do not run these nodes.

use super::rule::{Place, Update};
use crate::model::names;
use crate::observe::quantities::UPDATE_RATIO;
use crate::ops::magnitudes::WITHOUT_MEDIAN;
use crate::tape::{Tape, TensorId};

/// The block whose weights, while they decay, a place holds.
fn decaying_block(place: &Place<'_>) -> Option<usize> {
    place.parameter.declared.block.filter(|_| place.parameter.decays)
}

/// `places` cut so that the matrices of each layer are in a part of their own, in the same order.
pub fn by_layer<'a>(places: &'a [Place<'a>]) -> Vec<&'a [Place<'a>]> {
    let has_matrices = |part: &[Place<'_>]| part.iter().any(Place::is_matrix);
    let (mut parts, mut first, mut end) = (Vec::new(), 0, 0);
    for run in places.chunk_by(|a, b| decaying_block(a) == decaying_block(b)) {
        if has_matrices(run) || has_matrices(&places[first..end]) {
            parts.extend((first < end).then(|| &places[first..end]));
            first = end;
        }
        end += run.len();
    }
    parts.extend((first < end).then(|| &places[first..end]));
    parts
}

/// Records `update` of one part of [`by_layer`] with `record`, and observers of what that changes.
pub fn watch_change(tape: &mut Tape, update: &Update<'_>, record: impl FnOnce(&mut Tape)) {
    let matrices: Vec<&Place<'_>> = update.places.iter().filter(|place| place.is_matrix()).collect();
    let Some(layer) = matrices.first().and_then(|place| place.parameter.declared.block) else {
        return record(tape);
    };
    let stretches = |from: usize| stretches(&matrices, from);
    let origin = matrices[0].first;
    let padded = matrices.iter().map(|place| place.first + place.padded).max().unwrap_or(origin) - origin;
    let views = |tape: &mut Tape, of: TensorId, from: usize| -> Vec<TensorId> {
        let view = |place: &&Place<'_>| tape.view(of, place.first - from, &[place.padded]);
        matrices.iter().map(view).collect()
    };
    let (before, change) = (names::layer_weights(layer), names::layer_change(layer));
    let mut kept = None;
    tape.observing(|tape| {
        let norm = tape.observation(&before, &[WITHOUT_MEDIAN]);
        tape.magnitudes_of(update.parameters, stretches(0), norm);
        let negative = tape.intermediate(&format!("weights before, layer {layer}"), &[padded]);
        let [weights, parts] =
            [(update.parameters, 0), (negative, origin)].map(|(of, from)| views(tape, of, from));
        weights.into_iter().zip(parts).for_each(|(weights, part)| tape.scaled_into(weights, -1.0, part));
        kept = Some((norm, negative));
    });
    record(tape);
    let (norm, negative) = kept.expect("the observer was recorded");
    tape.observing(|tape| {
        let [weights, parts] =
            [(update.parameters, 0), (negative, origin)].map(|(of, from)| views(tape, of, from));
        weights.into_iter().zip(parts).for_each(|(weights, part)| tape.add_into(weights, part));
        let out = tape.observation(&change, &[WITHOUT_MEDIAN]);
        tape.magnitudes_of(negative, stretches(origin), out);
        tape.watch_ratio(out, &UPDATE_RATIO, layer, norm);
    });
}

/// Where the matrices lie, counted from the element `from`, with their padding, which is zero.
fn stretches(matrices: &[&Place<'_>], from: usize) -> Vec<(usize, usize)> {
    let mut stretches: Vec<(usize, usize)> = Vec::new();
    for place in matrices {
        let first = place.first - from;
        match stretches.last_mut() {
            Some((start, elements)) if *start + *elements == first => *elements += place.padded,
            _ => stretches.push((first, place.padded)),
        }
    }
    stretches
}
