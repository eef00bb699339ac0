//! AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101) in its two variants: see [`crate::ops::adamw`].

use super::rule::{HYPER, Rule, Settings, State, Update};
use crate::ops::adamw::{Arenas, Convention, Settings as Constants, hyper};
use crate::tape::Tape;

const MOMENTS: &[State] =
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
    hyper: |settings, rate, updates| numbers(Convention::Torch, settings, rate, updates),
    record: |tape, update| record(tape, update, Convention::Torch),
};

fn numbers(convention: Convention, settings: &Settings, rate: f64, updates: u64) -> [f32; HYPER] {
    let &Settings { beta1, beta2, epsilon, weight_decay } = settings;
    hyper(&Constants { convention, beta1, beta2, epsilon, weight_decay }, rate, updates)
}

fn record(tape: &mut Tape, update: &Update<'_>, convention: Convention) {
    let &Update { gradients, parameters, states, copies, hyper, verdict, places } = update;
    let decayed = places.iter().filter(|place| place.parameter.decays).map(|place| place.padded).sum();
    let arenas = Arenas { gradients, parameters, first: states[0], second: states[1], copies };
    tape.adamw(arenas, hyper, verdict, convention, decayed);
}
