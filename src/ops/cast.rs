//! `y = x` in f16. Products read the residual stream and its gradient through such copies, and a run's f16 weights start
//! as one.
//!
//! Shapes: x and y are equal. x may exceed one binding: it is read in windows. Adjoint: dx = dy, which stays in f32, so
//! it needs no op.

use super::gradient_norm::windows;
use super::unroll::unrolled;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, fits_image};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The op; see the module's documentation. A shorter output takes only the first elements.
#[derive(Debug)]
struct Cast;

impl Tape {
    /// `x` in f16: `x` itself if it already is f16. Recorded once per tensor.
    pub fn half(&mut self, x: TensorId) -> TensorId {
        if self.info(x).dtype == DType::F16 {
            return x;
        }
        if let Some(node) =
            self.nodes().iter().find(|node| node.op.name() == Cast.name() && node.inputs == [x])
        {
            return node.outputs[0];
        }
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate_of("f16", &dims, DType::F16);
        self.widen_gradient(y);
        self.record(Cast, &[x], &[y]);
        y
    }

    /// Records the conversion of the first elements of `x` into `y`, which is f16.
    pub fn half_into(&mut self, x: TensorId, y: TensorId) {
        assert!(self.info(y).dtype == DType::F16 && self.shape(y).elements() <= self.shape(x).elements());
        self.record(Cast, &[x], &[y]);
    }
}

impl Op for Cast {
    fn stem(&self) -> &'static str {
        "cast"
    }

    fn name(&self) -> &'static str {
        "cast"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let length = outputs[0].len();
        outputs[0].copy_from_slice(&inputs[0][..length]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = shapes.output_elements(0);
        let windows: Vec<_> = windows(elements, device).collect();
        let (rows, columns) = shapes.inputs[0].as_matrix();
        // Software drivers read images many times faster than buffers.
        let image = device.software
            && windows.len() == 1
            && elements == shapes.input_elements(0)
            && fits_image(rows, columns, DType::F32);
        let text: Arc<str> =
            unrolled(include_str!("../../shaders/cast.wgsl"), &element::WALK, &[("images", image)]);
        let dispatch = |&(offset, length): &(usize, usize)| {
            let vectors = length.div_ceil(4);
            let mut constants = vec![("VECTORS", vectors as f64)];
            if image {
                constants.push(("TEXELS", (columns / 4) as f64));
            }
            let window = Operand::InputWindow { input: 0, offset, length };
            Dispatch {
                kernel: Kernel::new(text.clone(), "narrow", &constants),
                bindings: vec![
                    ("x", if image { Operand::InputImage(0) } else { window }),
                    ("y", Operand::OutputWindow { output: 0, offset, length }),
                ],
                groups: element::walk(vectors),
            }
        };
        Recipe { dispatches: windows.iter().map(dispatch).collect(), ..Recipe::default() }
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        if adjoint.wants(0) {
            adjoint.contribute(0, dy);
        }
    }
}

/// Sizes below and above those of a vector and a workgroup, with and without rows that fit an image.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for shape in [[1, 1], [3, 5], [7, 64], [33, 129], [130, 128]] {
        let mut case = CaseBuilder::new("cast", format!("{shape:?}"), seed);
        let x = case.input("x", &shape, Fill::Normal(1.0));
        let y = case.tape.half(x);
        // One rounding to 11 bits. A device may round either way, so the error is up to a whole unit: 2⁻¹⁰ of the element's
        // power of two, which is at most the largest magnitude.
        cases.push(case.finish(&[y], &[], 1.0 / 1024.0));
    }
    cases
}
