//! `y = x where |x|·w ≥ ε, else 0`, with a weight w for each column: the units of a feed-forward network without those whose share
//! of its output is small (arXiv 2411.02335).
//!
//! Shapes: x and y `[R, N]`, in f32; w `[N]`; ε `[1]`. NaN stays NaN. For evaluation only: it has no adjoint.

use super::element::Elements;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::simd;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: x, w, ε. Output: y.
#[derive(Debug)]
struct Truncate;

impl Tape {
    /// Records `x` [R, N] without the elements whose magnitude, times the column's weight in `weights` `[N]`, is below `epsilon` `[1]`,
    /// into `y`.
    pub fn truncate_into(&mut self, x: TensorId, weights: TensorId, epsilon: TensorId, y: TensorId) {
        let (_, columns) = self.shape(x).as_matrix();
        assert_eq!(self.shape(weights).dims(), [columns], "truncate: {}", self.info(weights).name);
        assert_eq!(self.shape(epsilon).dims(), [1], "truncate: {}", self.info(epsilon).name);
        self.record(Truncate, &[x, weights, epsilon], &[y]);
    }
}

impl Op for Truncate {
    fn stem(&self) -> &'static str {
        "truncate"
    }

    fn name(&self) -> &'static str {
        "truncate"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let weights = inputs[1].iter().cycle();
        for ((y, &x), weight) in outputs[0].iter_mut().zip(inputs[0]).zip(weights) {
            *y = if x.abs() * weight < inputs[2][0] { 0.0 } else { x };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let [x, weights, epsilon] = inputs else { unreachable!("three inputs") };
        let rows = outputs[0].par_chunks_mut(weights.len()).zip(x.par_chunks(weights.len()));
        rows.for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for ((y, &x), weight) in y.iter_mut().zip(x).zip(*weights) {
                        *y = if x.abs() * weight < epsilon[0] { 0.0 } else { x };
                    }
                },
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("truncate", &[0]);
        let elements = Elements::of(shapes, device, &[0]);
        let (_, columns) = shapes.inputs[0].as_matrix();
        let flags = [("images", elements.texels.is_some())];
        let text = unroll(include_str!("../../shaders/truncate.wgsl"), &element::WALK, &flags, &[]);
        let constants: Vec<_> = elements.constants().chain([("COLUMNS", columns as f64)]).collect();
        let bindings = [
            ("x", elements.read(0)),
            ("weights", Operand::Input(1)),
            ("epsilon", Operand::Input(2)),
            ("y", Operand::Output(0)),
        ];
        let kernel = Kernel::new(text, "truncate_units", &constants);
        Recipe::one(kernel, &bindings, element::walk(elements.vectors))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

/// Sizes around a vector, rows that fit an image, NaN. No product is near ε, where f32 and f64 might disagree.
pub fn cases(seed: u64) -> Vec<Case> {
    const EPSILON: f32 = 0.5;
    let mut cases = Vec::new();
    for shape in [[1, 1], [3, 7], [37, 131], [64, 512], [40, 20]] {
        let mut case = CaseBuilder::new("truncate", format!("{shape:?}"), seed);
        let x = case.input("x", &shape, Fill::Normal(1.0));
        let weights = case.input("weights", &[shape[1]], Fill::Around(1.0, 0.3));
        let epsilon = case.input("epsilon", &[1], Fill::Normal(1.0));
        case.set(epsilon, vec![EPSILON]);
        let scales = case.values(weights).to_vec();
        let apart = |(i, &x): (usize, &f32)| {
            let near = (x.abs() * scales[i % scales.len()] - EPSILON).abs() < 1e-3;
            if near { x * 1.01 } else { x }
        };
        let values = case.values(x).iter().enumerate().map(apart).collect();
        case.set(x, values);
        let y = case.observation("y", &shape, 0.0);
        case.tape.truncate_into(x, weights, epsilon, y);
        // Elements are copied.
        cases.push(case.finish(&[], &[], 1e-7));
    }
    cases
}
