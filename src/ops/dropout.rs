//! Drops each element, to 0, with probability p; elements that are kept become `y = x / (1 − p)`.
//!
//! Shapes: x and y are equal; key `[4]` of u32: seed low, seed high, counter of the (micro-)batch, site in the model.
//! Element i is dropped if word i of the key's stream (see `random.rs`) is below p·2³². p is rounded to a multiple
//! of 2⁻³², and 1 − p uses the rounded p. Adjoint: the same op with the same key on dy.

mod host;

use super::random::Stream;
use super::unroll::unrolled;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: x, key. Output: y.
#[derive(Clone, Debug)]
pub struct Dropout {
    /// p·2³²: words below it drop their element.
    threshold: u32,
}

impl Dropout {
    /// Dropout with probability `p`, 0 ≤ p < 1.
    pub fn new(p: f64) -> Self {
        assert!((0.0..1.0).contains(&p), "dropout with probability {p}");
        // Saturates just below p = 1, where only one word in 2³² is kept.
        Self { threshold: (p * 2_f64.powi(32)).round() as u32 }
    }

    fn scale(&self) -> f64 {
        1.0 / (1.0 - f64::from(self.threshold) * 2_f64.powi(-32))
    }
}

impl Tape {
    /// Records dropout with probability `p`, 0 ≤ p < 1, or nothing if p is 0. `key` is an input of four u32:
    /// seed low, seed high, a counter that differs between batches, the site in the model.
    pub fn dropout(&mut self, x: TensorId, p: f64, key: TensorId) -> TensorId {
        let op = Dropout::new(p);
        if op.threshold == 0 {
            return x;
        }
        let info = self.info(key);
        assert!(info.dtype == DType::U32 && info.shape.dims() == [4], "dropout: the key {}", info.name);
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate("dropout", &dims);
        self.record(op, &[x, key], &[y]);
        y
    }
}

impl Op for Dropout {
    fn stem(&self) -> &'static str {
        "dropout"
    }

    fn name(&self) -> &'static str {
        "dropout"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let key = inputs[1];
        let stream = Stream::new([key[0] as u32, key[1] as u32, key[2] as u32, key[3] as u32]);
        for (i, (y, x)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            *y = if stream.word(i) >= self.threshold { x * self.scale() } else { 0.0 };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        host::drop_out(self, inputs[0], inputs[1], outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let vectors = shapes.input_elements(0).div_ceil(4);
        let constants = [
            ("VECTORS", vectors as f64),
            ("THRESHOLD", f64::from(self.threshold)),
            ("SCALE", f64::from(self.scale() as f32)),
        ];
        let text = unrolled(include_str!("../../shaders/dropout.wgsl"), &element::WALK, &[]);
        let bindings = [("x", Operand::Input(0)), ("key", Operand::Input(1)), ("y", Operand::Output(0))];
        Recipe::one(Kernel::new(text, "dropout", &constants), &bindings, element::walk(vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let (key, dx) = (adjoint.input(1), adjoint.fresh_like(0));
        adjoint.tape.record(self.clone(), &[dy, key], &[dx]);
        adjoint.contribute(0, dx);
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

/// Probabilities from near zero to near one, keys that use every bit, sizes around a vector.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let key = [seed as u32, (seed >> 32) as u32, 0xffff_fffe, 3];
    for (shape, p) in [([1, 1], 0.5), ([3, 7], 0.1), ([5, 64], 0.9), ([67, 129], 0.1)] {
        let mut case = CaseBuilder::new("dropout", format!("{shape:?}, p = {p}"), seed);
        let x = case.input("x", &shape, Fill::Normal(1.0));
        let key = case.indices("key", &[4], &key);
        let y = case.tape.dropout(x, p, key);
        // The scale and the product are each rounded by half a unit in the last place. A mask that differs in one
        // element is an error as large as that element.
        cases.push(case.finish(&[y], &[], 1.3e-7));
    }
    cases
}
