//! `y = x`, and `a⊙x` below zero, with a learned slope for each column (He et al. 2015, arXiv 1502.01852).
//!
//! Shapes: x and y `[R, n]` with n a multiple of four, in f32 or f16; a `[n]`. Adjoint: dx = dy, and a⊙dy below zero;
//! da += Σ dy·min(x, 0) over rows, summed in two stages in a fixed order.

use super::element::Elements;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::cores::{rows_per_task, simd};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;

/// The op. Inputs: x, a. Output: y.
#[derive(Clone, Debug)]
struct Prelu;

/// Its adjoint. Inputs: x, a, dy. Outputs: dx, and da, to which it adds.
#[derive(Clone, Debug)]
struct PreluBackward;

impl Tape {
    /// Records the activation of `x` `[R, n]` with the `slopes` `[n]`.
    pub fn prelu(&mut self, x: TensorId, slopes: TensorId) -> TensorId {
        let (rows, width) = self.shape(x).as_matrix();
        assert!(self.shape(slopes).dims() == [width] && width.is_multiple_of(4), "prelu: rows of {width}");
        let y = self.intermediate_of("activation", &[rows, width], self.info(x).dtype);
        self.record(Prelu, &[x, slopes], &[y]);
        y
    }
}

/// A kernel of `prelu.wgsl`.
fn kernel(elements: &Elements, entry: &'static str, own: &[(&'static str, f64)]) -> Kernel {
    let text = elements.text(include_str!("../../shaders/prelu.wgsl"), &[], &[]);
    let texels = elements.texels.map(|texels| ("TEXELS", texels as f64));
    let constants: Vec<_> = own.iter().copied().chain(texels).collect();
    Kernel::new(text, entry, &constants)
}

impl Op for Prelu {
    fn stem(&self) -> &'static str {
        "prelu"
    }

    fn name(&self) -> &'static str {
        "prelu"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let slopes = inputs[1];
        for (i, (y, x)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            *y = if *x >= 0.0 { *x } else { slopes[i % slopes.len()] * x };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let (x, slopes) = (inputs[0], inputs[1]);
        let (width, rows) = (slopes.len(), rows_per_task(slopes.len()));
        outputs[0].par_chunks_mut(rows * width).zip(x.par_chunks(rows * width)).for_each(|(y, x)| {
            simd(
                #[inline(always)]
                || {
                    for (y, x) in y.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                        for ((y, &x), a) in y.iter_mut().zip(x).zip(slopes) {
                            *y = if x >= 0.0 { x } else { a * x };
                        }
                    }
                },
            );
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let (_, width) = shapes.inputs[0].as_matrix();
        let own = [("VECTORS", elements.vectors as f64), ("WIDTH", (width / 4) as f64)];
        let bindings = [("x", elements.read(0)), ("slopes", Operand::Input(1)), ("y", Operand::Output(0))];
        Recipe::one(kernel(&elements, "prelu", &own), &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let (x, slopes, gradient) = (adjoint.input(0), adjoint.input(1), adjoint.parameter_gradient(1));
        let dx = adjoint.fresh_like(0);
        adjoint.tape.record(PreluBackward, &[x, slopes, dy], &[dx, gradient]);
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

impl Op for PreluBackward {
    fn stem(&self) -> &'static str {
        "prelu"
    }

    fn name(&self) -> &'static str {
        "prelu.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [x, slopes, dy] = inputs else { unreachable!("three inputs") };
        for (i, (&x, dy)) in x.iter().zip(*dy).enumerate() {
            let column = i % slopes.len();
            outputs[0][i] = if x >= 0.0 { *dy } else { slopes[column] * dy };
            outputs[1][column] += if x < 0.0 { dy * x } else { 0.0 };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let ([x, slopes, dy], [dx, d_slopes]) = (inputs, outputs) else { unreachable!("three inputs") };
        let width = slopes.len();
        let block = rows_per_task(width).min(256) * width;
        let blocks = dx.par_chunks_mut(block).zip(x.par_chunks(block).zip(dy.par_chunks(block)));
        let sums = blocks.map(|(dx, (x, dy))| {
            let mut sums = vec![0.0_f32; width];
            simd(
                #[inline(always)]
                || {
                    let rows =
                        dx.chunks_exact_mut(width).zip(x.chunks_exact(width).zip(dy.chunks_exact(width)));
                    for (dx, (x, dy)) in rows {
                        let columns = dx.iter_mut().zip(&mut sums).zip(slopes.iter());
                        for (((dx, sum), a), (&x, &dy)) in columns.zip(x.iter().zip(dy)) {
                            *dx = if x >= 0.0 { dy } else { a * dy };
                            *sum += if x < 0.0 { dy * x } else { 0.0 };
                        }
                    }
                },
            );
            sums
        });
        for sums in sums.collect::<Vec<_>>() {
            d_slopes.iter_mut().zip(sums).for_each(|(to, sum)| *to += sum);
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let (rows, width) = shapes.inputs[0].as_matrix();
        // At most 128 blocks of rows, which one lane then adds up.
        let each = rows.div_ceil(128).max(16);
        let (blocks, vectors) = (rows.div_ceil(each), width / 4);
        let own = [
            ("WIDTH", vectors as f64),
            ("ROWS", rows as f64),
            ("ROWS_EACH", each as f64),
            ("BLOCKS", blocks as f64),
        ];
        let shares = Dispatch {
            kernel: kernel(&elements, "prelu_backward", &own),
            bindings: vec![
                ("x", elements.read(0)),
                ("slopes", Operand::Input(1)),
                ("dy", elements.read(2)),
                ("dx", Operand::Output(0)),
                ("parts", Operand::Scratch(0)),
            ],
            groups: element::lanes(blocks * vectors),
        };
        let text = shares.kernel.text.clone();
        let sizes = [("WIDTH", vectors as f64), ("BLOCKS", blocks as f64)];
        let total = Dispatch {
            kernel: Kernel::new(text, "prelu_total", &sizes),
            bindings: vec![("parts", Operand::Scratch(0)), ("d_slopes", Operand::Output(1))],
            groups: element::lanes(vectors),
        };
        Recipe {
            dispatches: vec![shares, total],
            scratch: vec![blocks * width],
            iterations: each.max(blocks),
        }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

/// One row and many, rows that fit an image and rows that do not. Inputs stay away from the kink at 0.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for dtype in [DType::F32, DType::F16] {
        for (rows, width) in [(1, 4), (37, 36), (300, 20), (40, 128)] {
            let mut case = CaseBuilder::new("prelu", format!("[{rows}, {width}] of {dtype:?}"), seed);
            let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(2.0));
            let values = case.values(x).iter().map(|v| v.signum() * v.abs().max(0.02)).collect();
            case.set(x, values);
            let slopes = case.parameter("slopes", &[width], Fill::Around(0.25, 0.1));
            let y = case.tape.prelu(x, slopes);
            // One rounding; sums of up to 300 terms in two stages.
            cases.push(case.finish(&[y], &[], if dtype == DType::F16 { HALF_BOUND } else { 3e-6 }));
        }
    }
    cases
}
