//! Stochastic gradient descent with momentum over flat arenas: m ← μm + g, p ← p − ηλ·p − η·m, where g is the clipped gradient
//! and the decay is decoupled, as everywhere in this program. Without decay this is PyTorch's `SGD` without dampening.
//!
//! Shapes: gradients, parameters and m `[P]` of f32, the f16 copies of the first parameters `[C]` with C ≤ P; hyper `[8]`, of
//! which the third number is ηλ and the last η. A closed verdict leaves everything unchanged.

use super::gradient_norm::arena_windows;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::{TASK, simd};
use crate::ops::adamw::Arenas;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op; see the module's documentation. Inputs: gradients, hyper, verdict. Outputs: parameters, m, copies.
#[derive(Debug)]
struct Sgd {
    momentum: f32,
    /// How many elements at the start of the arena decay; a multiple of 64.
    decayed: usize,
}

impl Tape {
    /// Records one update; the first `decayed` elements of the arena decay. Only the first moments of `arenas` are used.
    pub fn sgd(&mut self, arenas: Arenas, hyper: TensorId, verdict: TensorId, momentum: f64, decayed: usize) {
        assert!(decayed.is_multiple_of(4), "the decayed part ends at a whole vector");
        let Arenas { gradients, parameters, first, copies, .. } = arenas;
        let outputs: Vec<_> = [parameters, first].into_iter().chain(copies).collect();
        self.record(Sgd { momentum: momentum as f32, decayed }, &[gradients, hyper, verdict], &outputs);
    }
}

impl Op for Sgd {
    fn stem(&self) -> &'static str {
        "sgd"
    }

    fn name(&self) -> &'static str {
        "sgd"
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [gradients, hyper, verdict] = inputs else { unreachable!("three inputs") };
        let [parameters, first, copies @ ..] = outputs else { unreachable!("two outputs and more") };
        if verdict[2] == 0.0 {
            return;
        }
        for (i, g) in gradients.iter().enumerate() {
            first[i] = f64::from(self.momentum) * first[i] + verdict[1] * g;
            let decay = if i < self.decayed { hyper[2] } else { 0.0 };
            parameters[i] = parameters[i] - decay * parameters[i] - hyper[7] * first[i];
        }
        for copies in copies {
            let length = copies.len();
            copies.copy_from_slice(&parameters[..length]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let [gradients, hyper, verdict] = inputs else { unreachable!("three inputs") };
        let [parameters, first] = outputs else { panic!("the CPU keeps no copies in f16") };
        if verdict[2] == 0.0 {
            return;
        }
        let (clip, rate, momentum) = (verdict[1], hyper[7], self.momentum);
        let tasks =
            parameters.par_chunks_mut(TASK).zip(first.par_chunks_mut(TASK)).zip(gradients.par_chunks(TASK));
        tasks.enumerate().for_each(|(i, ((parameters, first), gradients))| {
            let decayed = self.decayed.saturating_sub(i * TASK).min(parameters.len());
            let (decaying, others) = parameters.split_at_mut(decayed);
            simd(
                #[inline(always)]
                || {
                    first.iter_mut().zip(gradients).for_each(|(m, g)| *m = momentum * *m + clip * g);
                    let moved = decaying.iter_mut().zip(&first[..decayed]);
                    moved.for_each(|(p, m)| *p = *p - hyper[2] * *p - rate * m);
                    others.iter_mut().zip(&first[decayed..]).for_each(|(p, m)| *p -= rate * m);
                },
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let all_copied = shapes.outputs.get(2).map_or(0, |copies| copies.elements());
        let dispatch = |(offset, length): (usize, usize)| {
            let of_window = |first: usize| first.saturating_sub(offset).min(length);
            let (vectors, copied) = (length.div_ceil(4), of_window(all_copied));
            let text =
                unrolled(include_str!("../../shaders/sgd.wgsl"), &element::WALK, &[("half", copied > 0)]);
            let mut constants = vec![
                ("VECTORS", vectors as f64),
                ("DECAYED", (of_window(self.decayed) / 4) as f64),
                ("MOMENTUM", f64::from(self.momentum)),
            ];
            let mut bindings = vec![
                ("gradients", Operand::InputWindow { input: 0, offset, length }),
                ("hyper", Operand::Input(1)),
                ("verdict", Operand::Input(2)),
                ("parameters", Operand::OutputWindow { output: 0, offset, length }),
                ("first", Operand::OutputWindow { output: 1, offset, length }),
            ];
            if copied > 0 {
                constants.push(("COPIED", copied.div_ceil(4) as f64));
                bindings.push(("copies", Operand::OutputWindow { output: 2, offset, length: copied }));
            }
            Dispatch {
                kernel: Kernel { text, entry: "sgd", constants },
                bindings,
                groups: element::walk(vectors),
            }
        };
        let windows = arena_windows(shapes.input_elements(0), device);
        Recipe { dispatches: windows.map(dispatch).collect(), ..Recipe::default() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        7 * shapes.input_elements(0) as u64
    }
}

/// With and without momentum, decay, copies of some or all parameters; an open and a closed gate.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    const ELEMENTS: usize = 64 * 22;
    for (momentum, decayed, open, copied) in [
        (0.0, 0, 1.0, 0),
        (0.9, 64 * 13, 1.0, 0),
        (0.95, ELEMENTS, 1.0, 64 * 8),
        (0.9, 64 * 13, 0.0, 0),
        (0.9, 64 * 13, 1.0, ELEMENTS),
    ] {
        let label = format!("momentum {momentum}, {decayed} decay, open {open}, {copied} copies");
        let mut case = CaseBuilder::new("sgd", label, seed);
        let gradients = case.input("gradients", &[ELEMENTS], Fill::Normal(1.0));
        let rates = vec![0.0, 0.0, 1e-3, 0.0, 0.0, 0.0, 0.0, 0.05];
        let hyper = case.constant("hyper", &[8], DType::F32, rates);
        let verdict = case.constant("verdict", &[4], DType::F32, vec![2.0, 0.5, open, 0.0]);
        let [parameters, first] =
            ["parameters", "first"].map(|name| case.observation(name, &[ELEMENTS], 0.0));
        for tensor in [parameters, first] {
            let values = (0..ELEMENTS).map(|_| case.draw(Fill::Normal(1.0))).collect();
            case.set(tensor, values);
        }
        let copies = (copied > 0).then(|| case.observation_of("copies", &[copied], DType::F16, 0.5));
        let arenas = Arenas { gradients, parameters, first, second: first, copies };
        case.tape.sgd(arenas, hyper, verdict, momentum, decayed);
        // A few roundings. A copy adds one to 11 bits.
        cases.push(case.finish(&[], &[], if copied > 0 { 1.0 / 1024.0 } else { 1e-6 }));
    }
    cases
}
