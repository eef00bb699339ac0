//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in its two variants: see [`crate::ops::adamw`].

use super::rule::{HYPER, Place, Rule, Settings, State, Update};
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
    let &Update { gradients, parameters, states, copies, hyper, verdict, places, .. } = update;
    let arenas = Arenas { gradients, parameters, first: states[0], second: states[1], copies };
    tape.adamw(arenas, hyper, verdict, convention, decayed(places));
}

/// Elements of the places that decay, which come first.
fn decayed(places: &[Place<'_>]) -> usize {
    places.iter().filter(|place| place.parameter.decays).map(|place| place.padded).sum()
}

/// Records PyTorch's AdamW for places that lie side by side.
pub(super) fn record_stretch(tape: &mut Tape, update: &Update<'_>, places: &[Place<'_>]) {
    let first = places[0].first;
    let elements = |which: &dyn Fn(&Place<'_>) -> bool| -> usize {
        places.iter().filter(|place| which(place)).map(|place| place.padded).sum()
    };
    let all = elements(&|_| true);
    let copied = elements(&|place| place.parameter.copied);
    let mut part = |of| tape.view(of, first, &[all]);
    let arenas = Arenas {
        gradients: part(update.gradients),
        parameters: part(update.parameters),
        first: part(update.states[0]),
        second: part(update.states[1]),
        copies: update.copies.filter(|_| copied > 0).map(|copies| tape.view(copies, first, &[copied])),
    };
    tape.adamw(arenas, update.hyper, update.verdict, Convention::Torch, decayed(places));
}
