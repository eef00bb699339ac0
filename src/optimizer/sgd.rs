//! Stochastic gradient descent with momentum: see [`crate::ops::sgd`].

use super::adamw::{arenas, decayed};
use super::rule::{HYPER, Rule, State};

pub(super) const SGD: Rule = Rule {
    word: "sgd",
    about: "stochastic gradient descent with `momentum`, and decoupled weight decay",
    states: &[State { arena: "momentum", prefix: "m" }],
    hyper: |settings, rate, _| {
        let mut numbers = [0.0; HYPER];
        numbers[2] = (rate * settings.weight_decay) as f32;
        numbers[HYPER - 1] = rate as f32;
        numbers
    },
    record: |tape, update| {
        let (arenas, decayed) = (arenas(tape, update, update.places), decayed(update.places));
        tape.sgd(arenas, update.hyper, update.verdict, update.settings.momentum, decayed);
    },
};
