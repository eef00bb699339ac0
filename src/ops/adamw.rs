//! AdamW over flat arenas: parameters, gradients and both moments are each stored back to back in one buffer.
//!
//! m ← β₁m + (1−β₁)g, v ← β₂v + (1−β₂)g², where g is the clipped gradient, then
//! - `Hf`: transformers' AdamW: p ← p − η√(1−β₂ᵗ)/(1−β₁ᵗ)·m/(√v + ε), then p ← p − η·λ·p on the moved p;
//! - `Torch`: PyTorch's: p ← p − η·λ·p, then the same move with ε·√(1−β₂ᵗ) in place of ε, which is
//!   η/(1−β₁ᵗ)·m/(√(v/(1−β₂ᵗ)) + ε).
//!
//! The host computes the factors in f64 ([`hyper`]). A closed verdict leaves everything unchanged. In mixed precision,
//! the same pass writes the f16 copies of the first parameters of the arena, once per step.

mod host;

use super::gradient_norm::arena_windows;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, WINDOW_ELEMENTS, element};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use std::sync::Arc;

/// Where ε enters and when the decay applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Convention {
    /// transformers' AdamW, which the original uses.
    Hf,
    /// PyTorch's AdamW.
    Torch,
}

/// The optimizer constants of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub convention: Convention,
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
}

/// The eight numbers that the device needs for one step; `count` is the number of earlier updates.
pub fn hyper(settings: &Settings, learning_rate: f64, count: u64) -> [f32; 8] {
    let t = (count + 1) as f64;
    let (c1, c2) = (1.0 - settings.beta1.powf(t), 1.0 - settings.beta2.powf(t));
    let epsilon = match settings.convention {
        Convention::Hf => settings.epsilon,
        Convention::Torch => settings.epsilon * c2.sqrt(),
    };
    [
        (learning_rate * c2.sqrt() / c1) as f32,
        epsilon as f32,
        (learning_rate * settings.weight_decay) as f32,
        settings.beta1 as f32,
        settings.beta2 as f32,
        (1.0 - settings.beta1) as f32,
        (1.0 - settings.beta2) as f32,
        0.0,
    ]
}

/// The operands of [`Tape::adamw`]; all arenas are `[P]` of f32, the copies `[C]` of f16 with C ≤ P.
#[derive(Clone, Copy, Debug)]
pub struct Arenas {
    pub gradients: TensorId,
    pub parameters: TensorId,
    pub first: TensorId,
    pub second: TensorId,
    /// f16 copies of the first parameters.
    pub copies: Option<TensorId>,
}

/// The op; see the module's documentation.
#[derive(Debug)]
struct AdamW {
    convention: Convention,
    /// How many elements at the start of the arena decay; a multiple of 64.
    decayed: usize,
}

impl Tape {
    /// Records one update; the first `decayed` elements of the arena decay.
    pub fn adamw(
        &mut self,
        arenas: Arenas,
        hyper: TensorId,
        verdict: TensorId,
        convention: Convention,
        decayed: usize,
    ) {
        assert!(decayed.is_multiple_of(4), "the decayed part ends at a whole vector");
        let Arenas { gradients, parameters, first, second, copies } = arenas;
        let outputs: Vec<_> = [parameters, first, second].into_iter().chain(copies).collect();
        self.record(AdamW { convention, decayed }, &[gradients, hyper, verdict], &outputs);
    }
}

impl Op for AdamW {
    fn stem(&self) -> &'static str {
        "adamw"
    }

    fn name(&self) -> &'static str {
        "adamw"
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [step, epsilon, decay, beta1, beta2, rest1, rest2] = std::array::from_fn(|i| inputs[1][i]);
        let (clip, open) = (inputs[2][1], inputs[2][2]);
        if open == 0.0 {
            return;
        }
        let [parameters, first, second, copies @ ..] = outputs else {
            unreachable!("three outputs and more")
        };
        for (i, g) in inputs[0].iter().enumerate() {
            let g = g * clip;
            first[i] = beta1 * first[i] + rest1 * g;
            second[i] = beta2 * second[i] + rest2 * g * g;
            let decay = if i < self.decayed { decay } else { 0.0 };
            let move_by = step * first[i] / (second[i].sqrt() + epsilon);
            parameters[i] = match self.convention {
                Convention::Hf => (parameters[i] - move_by) * (1.0 - decay),
                Convention::Torch => parameters[i] * (1.0 - decay) - move_by,
            };
        }
        for copies in copies {
            let length = copies.len();
            copies.copy_from_slice(&parameters[..length]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        host::update(self, io);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = shapes.input_elements(0);
        let images = device.software;
        // One text for windows without copies and one for windows with copies, since a large model has many windows.
        let texts: [Arc<str>; 2] = [false, true].map(|half| {
            let flags = [("half", half), ("images", images)];
            unrolled(include_str!("../../shaders/adamw.wgsl"), &element::WALK, &flags)
        });
        let all_copied = shapes.outputs.get(3).map_or(0, |copies| copies.elements());
        let dispatches = arena_windows(elements, device)
            .map(|(offset, length)| {
                let vectors = length.div_ceil(4);
                let of_window = |first: usize| first.saturating_sub(offset).min(length);
                let copied = of_window(all_copied);
                let mut constants = vec![
                    ("VECTORS", vectors as f64),
                    ("DECAYED", (of_window(self.decayed) / 4) as f64),
                    ("DECAY_FIRST", f64::from(u8::from(self.convention == Convention::Torch))),
                ];
                let outputs =
                    [("parameters", "old_parameters"), ("first", "old_first"), ("second", "old_second")];
                let mut bindings = vec![("hyper", Operand::Input(1)), ("verdict", Operand::Input(2))];
                for (output, (new, old)) in outputs.into_iter().enumerate() {
                    bindings.push((new, Operand::OutputWindow { output, offset, length }));
                    if images {
                        bindings.push((old, Operand::OutputWindowImage { output, offset, length }));
                    }
                }
                bindings.push(match images {
                    true => ("gradients", Operand::InputWindowImage { input: 0, offset, length }),
                    false => ("gradients", Operand::InputWindow { input: 0, offset, length }),
                });
                if copied > 0 {
                    constants.push(("COPIED", copied.div_ceil(4) as f64));
                    bindings.push(("copies", Operand::OutputWindow { output: 3, offset, length: copied }));
                }
                let text = texts[usize::from(copied > 0)].clone();
                let kernel = Kernel { text, entry: "adamw", constants };
                Dispatch { kernel, bindings, groups: element::walk(vectors) }
            })
            .collect();
        Recipe { dispatches, ..Recipe::default() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        14 * shapes.input_elements(0) as u64
    }
}

/// Both orders, the first and a late step, an open and a closed gate, gradients down to 1e-9; copies of no, some and all
/// parameters; arenas that are views of larger ones.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    const FEW: usize = 64 * 22;
    for (convention, count, spread, open, copied, elements, first) in [
        (Convention::Hf, 0, 1.0, 1.0, 0, FEW, 0),
        (Convention::Hf, 1_000, 1e-9, 1.0, 0, FEW, 0),
        (Convention::Torch, 0, 1e-9, 1.0, 0, FEW, 0),
        (Convention::Torch, 1_000, 1.0, 1.0, 0, FEW, 0),
        (Convention::Hf, 3, 1.0, 0.0, 0, FEW, 0),
        (Convention::Hf, 0, 1.0, 1.0, 64 * 8, FEW, 0),
        (Convention::Torch, 3, 1.0, 1.0, 64 * 22, FEW, 0),
        (Convention::Hf, 3, 1.0, 0.0, 64 * 8, FEW, 0),
        // Software drivers read an arena in windows; the second one has no copies.
        (Convention::Hf, 3, 1.0, 1.0, 64 * 8, WINDOW_ELEMENTS + FEW, 0),
        (Convention::Hf, 3, 1.0, 1.0, 0, FEW, 384),
        (Convention::Torch, 3, 1.0, 1.0, 64 * 8, FEW, 128),
    ] {
        let label = format!(
            "{convention:?} after {count} steps, g ~ {spread:e}, open {open}, {copied} copies, from {first}"
        );
        let mut case = CaseBuilder::new("adamw", label, seed);
        let whole = first + elements;
        let gradients = case.input("gradients", &[whole], Fill::Normal(spread));
        let settings = Settings { convention, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.1 };
        let hyper = case.constant("hyper", &[8], DType::F32, hyper(&settings, 1e-3, count).to_vec());
        let verdict = case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]);
        let [parameters, moments, second] =
            ["parameters", "first", "second"].map(|name| case.observation(name, &[whole], 0.0));
        let normal = |case: &mut CaseBuilder, fill| (0..whole).map(|_| case.draw(fill)).collect::<Vec<f32>>();
        let values = normal(&mut case, Fill::Normal(1.0));
        case.set(parameters, values);
        let values = normal(&mut case, Fill::Normal(spread));
        case.set(moments, values);
        let values = normal(&mut case, Fill::Normal(spread)).iter().map(|v| v * v).collect();
        case.set(second, values);
        let copies = (copied > 0).then(|| case.observation_of("copies", &[copied], DType::F16, 0.5));
        let mut arenas = Arenas { gradients, parameters, first: moments, second, copies };
        if first > 0 {
            let part = |of| case.tape.view(of, first, &[elements]);
            let [gradients, parameters, moments, second] = [gradients, parameters, moments, second].map(part);
            arenas = Arenas { gradients, parameters, first: moments, second, copies };
        }
        case.tape.adamw(arenas, hyper, verdict, convention, 64 * 13);
        // A few roundings; a driver's square root and division may be off by 2.5 units. A copy adds one rounding.
        cases.push(case.finish(&[], &[], if copied > 0 { 1.0 / 1024.0 } else { 1e-6 }));
    }
    cases
}
