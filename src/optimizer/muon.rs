//! Muon and NorMuon for the matrices inside blocks, AdamW (PyTorch's) for everything else: see [`crate::ops::muon`].

use super::adamw::{MOMENTS, adamw_numbers, record_stretch};
use super::rule::{HYPER, Place, Rule, Settings, Update};
use crate::ops::adamw::Convention;
use crate::ops::muon::{Constants, Operands};
use crate::tape::Tape;

pub(super) const MUON: Rule = Rule {
    word: "muon",
    about: "Muon for the matrices inside blocks: Nesterov's momentum made orthogonal by five steps of Newton and Schulz (queries, keys and values each on their own); `adamw` for all else",
    states: MOMENTS,
    hyper: numbers,
    record: |tape, update| record(tape, update, None),
};

pub(super) const NORMUON: Rule = Rule {
    word: "normuon",
    about: "the same, with a running second moment of each neuron's update (arXiv 2510.05491)",
    states: MOMENTS,
    hyper: numbers,
    record: |tape, update| record(tape, update, Some(NEURON_BETA2)),
};

/// β₂ of a neuron's second moment, as in the paper's code.
const NEURON_BETA2: f64 = 0.95;

/// AdamW's numbers, and the rate itself as the last one.
fn numbers(settings: &Settings, rate: f64, updates: u64) -> [f32; HYPER] {
    let mut numbers = adamw_numbers(settings, rate, updates);
    numbers[HYPER - 1] = rate as f32;
    numbers
}

fn record(tape: &mut Tape, update: &Update<'_>, neurons: Option<f64>) {
    let mut rest: Vec<Place<'_>> = Vec::new();
    for &place in update.places {
        if !place.is_matrix() {
            rest.push(place);
            continue;
        }
        tape.enter(&place.parameter.name);
        let Place { parameter, first, .. } = place;
        let shape = &parameter.shape[..];
        let operands = Operands {
            gradient: tape.view(update.gradients, first, shape),
            parameter: tape.view(update.parameters, first, shape),
            momentum: tape.view(update.states[0], first, shape),
            neurons: neurons.map(|_| tape.view(update.states[1], first, &shape[1..])),
            copy: update.copies.filter(|_| parameter.copied).map(|copies| tape.view(copies, first, shape)),
            hyper: update.hyper,
            verdict: update.verdict,
        };
        let Settings { momentum, muon_scale, muon_ratio, .. } = *update.settings;
        let constants =
            Constants { momentum, scale: muon_scale, ratio: muon_ratio, neurons, decays: parameter.decays };
        tape.muon(operands, parameter.declared.parts, constants);
    }
    tape.enter("");
    // What lies side by side is one stretch.
    let mut stretch: Vec<Place<'_>> = Vec::new();
    for place in rest {
        if stretch.last().is_some_and(|last| last.first + last.padded != place.first) {
            record_stretch(tape, update, &stretch, Convention::Torch);
            stretch.clear();
        }
        stretch.push(place);
    }
    if !stretch.is_empty() {
        record_stretch(tape, update, &stretch, Convention::Torch);
    }
}
