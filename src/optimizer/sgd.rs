//! Stochastic gradient descent with momentum: see [`crate::ops::sgd`].

use super::rule::{HYPER, Rule, State};
use crate::ops::adamw::Arenas;

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
        let decayed =
            update.places.iter().filter(|place| place.parameter.decays).map(|place| place.padded).sum();
        let first = update.states[0];
        let arenas = Arenas {
            gradients: update.gradients,
            parameters: update.parameters,
            first,
            second: first,
            copies: update.copies,
        };
        tape.sgd(arenas, update.hyper, update.verdict, update.settings.momentum, decayed);
    },
};
