//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in its two variants: see [`crate::ops::adamw`].

use super::rule::{HYPER, Place, Rule, Settings, State, Update, stretch};
use crate::ops::adamw::{Arenas, Convention, Settings as Constants, hyper};
use crate::tape::Tape;

pub(super) const MOMENTS: &[State] =
    &[State { arena: "first moments", prefix: "m" }, State { arena: "second moments", prefix: "v" }];

pub(super) const HF: Rule = Rule {
    word: "adamw_hf",
    about: "transformers' AdamW: ε is not bias-corrected, and the decay applies to the already updated parameter",
    states: MOMENTS,
    hyper: |settings, rate, updates| numbers(Convention::Hf, settings, rate, updates),
    record: |tape, update| record(tape, update, Convention::Hf),
};

pub(super) const TORCH: Rule = Rule {
    word: "adamw",
    about: "PyTorch's AdamW: ε is added to the bias-corrected root, and the decay comes first",
    states: MOMENTS,
    hyper: adamw_numbers,
    record: |tape, update| record(tape, update, Convention::Torch),
};

/// The numbers of a step of PyTorch's AdamW.
pub(super) fn adamw_numbers(settings: &Settings, rate: f64, updates: u64) -> [f32; HYPER] {
    numbers(Convention::Torch, settings, rate, updates)
}

fn numbers(convention: Convention, settings: &Settings, rate: f64, updates: u64) -> [f32; HYPER] {
    let &Settings { beta1, beta2, epsilon, weight_decay, .. } = settings;
    hyper(&Constants { convention, beta1, beta2, epsilon, weight_decay }, rate, updates)
}

fn record(tape: &mut Tape, update: &Update<'_>, convention: Convention) {
    record_stretch(tape, update, update.places, convention);
}

/// Elements of the places that decay, which come first.
pub(super) fn decayed(places: &[Place<'_>]) -> usize {
    places.iter().filter(|place| place.parameter.decays).map(|place| place.padded).sum()
}

/// What an update of places that lie side by side reads and writes.
pub(super) fn arenas(tape: &mut Tape, update: &Update<'_>, places: &[Place<'_>]) -> Arenas {
    let copied: Vec<Place<'_>> = places.iter().filter(|place| place.parameter.copied).copied().collect();
    let mut part = |of| stretch(tape, of, places);
    let (gradients, parameters) = (part(update.gradients), part(update.parameters));
    let (first, last) = (part(update.states[0]), part(update.states[update.states.len() - 1]));
    let copies = update.copies.filter(|_| !copied.is_empty());
    let copies = copies.map(|copies| stretch(tape, copies, &copied));
    Arenas { gradients, parameters, first, second: last, copies }
}

/// Records AdamW for places that lie side by side.
pub(super) fn record_stretch(
    tape: &mut Tape,
    update: &Update<'_>,
    places: &[Place<'_>],
    convention: Convention,
) {
    let arenas = arenas(tape, update, places);
    tape.adamw(arenas, update.hyper, update.verdict, convention, decayed(places));
}
