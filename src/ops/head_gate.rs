//! `z = a ⊙ σ(g)`: attention's output times a gate, one for each element or one for each head (arXiv 2505.06708, in which
//! the gate's scores are a linear map of the same normalized rows as the queries).
//!
//! Shapes: a and z `[R, d]`, g `[R, G]` with G = d, or G heads of d/G columns, a multiple of four; all of one type, f32 or
//! f16. Adjoint, with s = σ(g): da = dz·s, dg = s(1 − s)·Σ dz·a over the columns that share the gate.
//! s(1 − s) is computed from e^(−|g|), because 1 − s has no digits where s is near one.

mod host;

use super::element::Elements;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: a, g. Output: z.
#[derive(Clone, Debug)]
pub struct HeadGate;

/// Its adjoint. Inputs: a, g, dz. Outputs: da, dg.
#[derive(Clone, Debug)]
pub struct HeadGateBackward;

impl Tape {
    /// Records `a ⊙ σ(g)`: `a` `[R, d]`, `g` `[R, d]` or a column for each head.
    pub fn head_gate(&mut self, a: TensorId, g: TensorId) -> TensorId {
        let (rows, columns) = self.shape(a).as_matrix();
        let (gated, gates) = self.shape(g).as_matrix();
        let dtype = self.info(a).dtype;
        assert_eq!(
            (gated, self.info(g).dtype),
            (rows, dtype),
            "a gate for each row of {}",
            self.info(a).name
        );
        let span = columns / gates;
        assert!(
            columns.is_multiple_of(gates) && (span == 1 || span.is_multiple_of(4)),
            "{gates} of {columns}"
        );
        let z = self.intermediate_of("gated", &[rows, columns], dtype);
        self.record(HeadGate, &[a, g], &[z]);
        z
    }
}

/// σ(g), and its derivative.
fn logistic(g: f64) -> (f64, f64) {
    let e = (-g.abs()).exp();
    let s = 1.0 / (1.0 + e);
    (if g < 0.0 { e * s } else { s }, e * s * s)
}

/// Columns that share a gate.
fn span(shapes: &Shapes<'_>) -> usize {
    shapes.inputs[0].as_matrix().1 / shapes.inputs[1].as_matrix().1
}

/// A kernel of `head_gate.wgsl`.
fn kernel(elements: &Elements, shapes: &Shapes<'_>, entry: &'static str) -> Kernel {
    let span = span(shapes);
    let texts = [("narrow_one", element::narrow(elements.half, 1))];
    let texts = texts.each_ref().map(|(name, text)| (*name, text.as_str()));
    let text = elements.text(include_str!("../../shaders/head_gate.wgsl"), &[("heads", span > 1)], &texts);
    let mut constants = match entry {
        "gate_gradient" => vec![("GATES", shapes.input_elements(1) as f64)],
        _ => vec![("VECTORS", elements.vectors as f64)],
    };
    if span > 1 {
        constants.push(("SPAN", (span / 4) as f64));
    }
    constants.extend(elements.texels.map(|texels| ("TEXELS", texels as f64)));
    Kernel::new(text, entry, &constants)
}

/// How the kernels read g: as a and dz, if it has an element for each of theirs.
fn read_gate(elements: &Elements, shapes: &Shapes<'_>) -> Operand {
    if span(shapes) > 1 { Operand::Input(1) } else { elements.read(1) }
}

impl Op for HeadGate {
    fn stem(&self) -> &'static str {
        "head_gate"
    }

    fn name(&self) -> &'static str {
        "head_gate"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let span = span(&io.shapes);
        let (inputs, outputs) = io.split();
        for (i, (z, a)) in outputs[0].iter_mut().zip(inputs[0]).enumerate() {
            *z = a * logistic(inputs[1][i / span]).0;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let span = span(&io.shapes);
        let (inputs, outputs) = io.split();
        host::forward(span, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let bindings =
            [("a", elements.read(0)), ("g", read_gate(&elements, shapes)), ("z", Operand::Output(0))];
        Recipe::one(kernel(&elements, shapes, "head_gate"), &bindings, element::walk(elements.vectors))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dz) = adjoint.gradient(0) else { return };
        let (a, g) = (adjoint.input(0), adjoint.input(1));
        let [da, dg] = [0, 1].map(|i| adjoint.fresh_like(i));
        adjoint.tape.record(HeadGateBackward, &[a, g, dz], &[da, dg]);
        for (i, gradient) in [(0, da), (1, dg)] {
            if adjoint.wants(i) {
                adjoint.contribute(i, gradient);
            }
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (shapes.input_elements(0) + 4 * shapes.input_elements(1)) as u64
    }
}

impl Op for HeadGateBackward {
    fn stem(&self) -> &'static str {
        "head_gate"
    }

    fn name(&self) -> &'static str {
        "head_gate.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let span = span(&io.shapes);
        let (inputs, outputs) = io.split();
        let [a, g, dz] = inputs else { unreachable!("three inputs") };
        for (place, (dg, &g)) in outputs[1].iter_mut().zip(*g).enumerate() {
            let (_, slope) = logistic(g);
            let own = place * span..(place + 1) * span;
            *dg = slope * a[own.clone()].iter().zip(&dz[own]).map(|(a, dz)| a * dz).sum::<f64>();
        }
        for (i, (da, dz)) in outputs[0].iter_mut().zip(*dz).enumerate() {
            *da = dz * logistic(g[i / span]).0;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let span = span(&io.shapes);
        let (inputs, outputs) = io.split();
        host::backward(span, inputs, outputs);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let g = read_gate(&elements, shapes);
        let dispatch = |entry, bindings: &[(&'static str, Operand)], groups| Dispatch {
            kernel: kernel(&elements, shapes, entry),
            bindings: bindings.to_vec(),
            groups,
        };
        let (a, dz) = (("a", elements.read(0)), ("dz", elements.read(2)));
        let (da, dg) = (("da", Operand::Output(0)), ("dg", Operand::Output(1)));
        let walk = element::walk(elements.vectors);
        let dispatches = match span(shapes) {
            1 => vec![dispatch("head_gate_backward", &[a, ("g", g), dz, da, dg], walk)],
            _ => vec![
                dispatch("head_gate_backward", &[("g", g), dz, da], walk),
                dispatch("gate_gradient", &[a, ("g", g), dz, dg], element::lanes(shapes.input_elements(1))),
            ],
        };
        Recipe { dispatches, iterations: span(shapes).div_ceil(4), ..Recipe::default() }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (3 * shapes.input_elements(0) + 6 * shapes.input_elements(1)) as u64
    }
}

/// A gate for each element and for each head, one row and many, rows that fit an image and rows that do not; gates far on
/// either side of zero.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let shapes = [(1, 4, 4), (1, 4, 1), (7, 60, 60), (7, 60, 3), (33, 128, 128), (33, 128, 4), (40, 64, 2)];
    for dtype in [DType::F32, DType::F16] {
        for (rows, columns, gates) in shapes {
            let label = format!("[{rows}, {columns}] with {gates} gates of {dtype:?}");
            let mut case = CaseBuilder::new("head_gate", label, seed);
            let a = case.input_of("a", &[rows, columns], dtype, Fill::Normal(1.0));
            let g = case.input_of("g", &[rows, gates], dtype, Fill::Normal(2.0));
            let far = |(i, &v): (usize, &f32)| match i % 31 {
                7 => v.signum() * 20.0,
                8 => v.signum() * 200.0,
                _ => v,
            };
            let values = case.values(g).iter().enumerate().map(far).collect();
            case.set(g, values);
            let z = case.tape.head_gate(a, g);
            // A few roundings. A driver's exp may be off by 3 + 2|x| units, where e^(−|x|) is at most 1; sums have up to 32
            // terms.
            let bound = if dtype == DType::F16 { HALF_BOUND } else { 3e-6 };
            cases.push(case.finish(&[z], &[], bound));
        }
    }
    cases
}
