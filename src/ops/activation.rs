//! `y = f(x)`, element by element: the feed-forward layer's activation function.
//!
//! | kind | f(x) | f′(x) |
//! | --- | --- | --- |
//! | `Gelu` | x·Φ(x), Φ(x) = ½(1 + erf(x/√2)) | Φ(x) + x·φ(x) |
//! | `GeluNew` | ½x(1 + tanh u), u = √(2/π)(x + 0.044715x³) | ½(1 + tanh u) + ½x(1 − tanh² u)·u′ |
//! | `Relu` | max(x, 0) | 1 where x > 0, else 0 |
//! | `Leaky`, `Learnable` | x where x ≥ 0, else slope·x | 1 where x ≥ 0, else slope |
//!
//! Shapes: x, y alike, and stored alike. A learnable slope is one entry of a parameter vector; its gradient is
//! dslope[entry] += Σ over x < 0 of dy·x, in two stages whose order of addition is fixed.

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use std::f64::consts::{FRAC_1_SQRT_2, FRAC_2_PI, PI};

/// Which function.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// Exact, by the error function.
    Gelu,
    /// GPT-2's own, by tanh.
    GeluNew,
    Relu,
    /// A fixed slope below zero.
    Leaky {
        slope: f32,
    },
    /// A trained slope below zero.
    Learnable,
}

/// The op. Inputs x and, where the kind is learnable, the slopes; output y.
#[derive(Debug)]
pub struct ActivationFunction {
    pub kind: Kind,
    /// The entry of the slopes that counts.
    pub entry: usize,
}

/// Its adjoint. Inputs x, dy and, where the kind is learnable, the slopes; outputs dx and, there, the slopes'
/// gradient, added to.
#[derive(Debug)]
pub struct ActivationBackward {
    pub kind: Kind,
    pub entry: usize,
}

impl Tape {
    /// Records an activation function. `slope` names a parameter vector and the entry of it to use; it is
    /// there for `Kind::Learnable` and for no other. Several calls may share one entry.
    pub fn activation_function(
        &mut self,
        x: TensorId,
        kind: Kind,
        slope: Option<(TensorId, usize)>,
    ) -> TensorId {
        assert_eq!(kind == Kind::Learnable, slope.is_some(), "a slope belongs to a learnable kind");
        let dims = self.shape(x).dims().to_vec();
        let y = self.activation_of("activation", &dims, self.info(x).dtype);
        match slope {
            None => self.record(ActivationFunction { kind, entry: 0 }, &[x], &[y]),
            Some((slopes, entry)) => {
                let info = self.info(slopes);
                assert!(entry < info.shape.elements(), "entry {entry} of {} {}", info.name, info.shape);
                self.record(ActivationFunction { kind, entry }, &[x, slopes], &[y]);
            }
        }
        y
    }
}

impl Kind {
    /// `(f(x), f′(x))` with the given slope, in f64.
    fn evaluate(self, x: f64, slope: f64) -> (f64, f64) {
        match self {
            Self::Gelu => {
                // erfc of the tail, not 1 + erf: it keeps its digits far below zero.
                let below = 0.5 * libm::erfc(-x * FRAC_1_SQRT_2);
                (x * below, below + x * (-0.5 * x * x).exp() / (2.0 * PI).sqrt())
            }
            Self::GeluNew => {
                let root = FRAC_2_PI.sqrt();
                let below = 1.0 / (1.0 + (-2.0 * root * (x + 0.044715 * x * x * x)).exp());
                let steepness = 2.0 * root * (1.0 + 3.0 * 0.044715 * x * x);
                (x * below, below + x * below * (1.0 - below) * steepness)
            }
            // Not max, which would turn NaN into 0.
            Self::Relu => (if x < 0.0 { 0.0 } else { x }, if x > 0.0 { 1.0 } else { 0.0 }),
            Self::Leaky { .. } | Self::Learnable => {
                let factor = if x >= 0.0 { 1.0 } else { slope };
                (factor * x, factor)
            }
        }
    }

    fn fixed_slope(self) -> f32 {
        match self {
            Self::Leaky { slope } => slope,
            _ => 0.0,
        }
    }

    /// The slope the reference uses.
    fn slope(self, slopes: Option<&&[f64]>, entry: usize) -> f64 {
        slopes.map_or(f64::from(self.fixed_slope()), |slopes| slopes[entry])
    }

    /// Its number in `shared/activations.wgsl`.
    fn number(self) -> f64 {
        match self {
            Self::Gelu => 0.0,
            Self::GeluNew => 1.0,
            Self::Relu => 2.0,
            Self::Leaky { .. } | Self::Learnable => 3.0,
        }
    }

    /// Floating-point operations per element, counted in the shader.
    fn flops(self) -> u64 {
        match self {
            Self::Gelu => 24,
            Self::GeluNew => 12,
            _ => 1,
        }
    }
}

/// A kernel of `activation.wgsl`. Those that add up over no lanes take the simplest team with them.
fn kernel(
    elements: &Elements,
    entry: &'static str,
    team: Option<&Team>,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let functions = include_str!("../../shaders/shared/activations.wgsl");
    let team = team.map_or(include_str!("../../shaders/shared/team_alone.wgsl"), |team| team.fragment);
    let text = elements.text(include_str!("../../shaders/activation.wgsl"));
    Kernel::new(&[element::fragments(elements.half), &[functions, team]].concat(), &text, entry, constants)
}

/// An element-wise kernel.
fn element_wise(
    elements: &Elements,
    (fixed, learnable): (&'static str, &'static str),
    kind: Kind,
    entry: usize,
    bindings: &[(&'static str, Operand)],
) -> Recipe {
    /// `WIDE` · `FEW` of the shader.
    const VECTORS_PER_GROUP: usize = 256;
    let own = match kind {
        Kind::Learnable => vec![("ENTRY", entry as f64)],
        _ => vec![("KIND", kind.number()), ("SLOPE", f64::from(kind.fixed_slope()))],
    };
    let name = if kind == Kind::Learnable { learnable } else { fixed };
    let constants: Vec<_> = elements.constants().chain(own).collect();
    let kernel = kernel(elements, name, None, &constants);
    Recipe::one(kernel, bindings, grid(elements.vectors.div_ceil(VECTORS_PER_GROUP)))
}

/// What a choice for the adjoint with a learnable slope is kept under.
fn key(shapes: &Shapes<'_>) -> String {
    let (rows, columns) = shapes.inputs[0].as_matrix();
    format!("activation_backward {rows}x{columns}")
}

impl Op for ActivationFunction {
    fn stem(&self) -> &'static str {
        "activation"
    }

    fn name(&self) -> &'static str {
        "activation"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let slope = self.kind.slope(inputs.get(1), self.entry);
        for (y, &x) in outputs[0].iter_mut().zip(inputs[0]) {
            *y = self.kind.evaluate(x, slope).0;
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings = vec![("x", elements.read(0)), ("y", Operand::Output(0))];
        if self.kind == Kind::Learnable {
            bindings.push(("slopes", Operand::Input(1)));
        }
        let entries = ("activation_fixed", "activation_learnable");
        element_wise(&elements, entries, self.kind, self.entry, &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let (kind, entry, x) = (self.kind, self.entry, adjoint.input(0));
        let dx = adjoint.fresh_like(0);
        let op = ActivationBackward { kind, entry };
        match kind {
            Kind::Learnable => {
                let (slopes, dslopes) = (adjoint.input(1), adjoint.parameter_gradient(1));
                adjoint.tape.record(op, &[x, dy, slopes], &[dx, dslopes]);
            }
            _ => adjoint.tape.record(op, &[x, dy], &[dx]),
        }
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        self.kind.flops() * shapes.input_elements(0) as u64
    }
}

impl Op for ActivationBackward {
    fn stem(&self) -> &'static str {
        "activation"
    }

    fn name(&self) -> &'static str {
        "activation.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let slope = self.kind.slope(inputs.get(2), self.entry);
        for (dx, (&x, dy)) in outputs[0].iter_mut().zip(inputs[0].iter().zip(inputs[1])) {
            *dx = dy * self.kind.evaluate(x, slope).1;
        }
        if let Some(dslopes) = outputs.get_mut(1) {
            let pairs = inputs[0].iter().zip(inputs[1]).filter(|&(&x, _)| x < 0.0);
            dslopes[self.entry] += pairs.map(|(x, dy)| x * dy).sum::<f64>();
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings =
            vec![("x", elements.read(0)), ("dy", elements.read(1)), ("dx", Operand::Output(0))];
        if self.kind != Kind::Learnable {
            let entries = ("activation_fixed_backward", "activation_learnable_backward");
            return element_wise(&elements, entries, self.kind, self.entry, &bindings);
        }
        /// At most so many shares, for one team to add up.
        const MOST_PARTS: usize = 4_096;
        let team = Team::chosen(&key(shapes), device);
        let vectors = elements.vectors;
        // Short runs of vectors occupy a GPU; on a CPU a workgroup costs more than a few vectors do.
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let shared = [
            ("LANES", team.lanes as f64),
            ("TEAM", team.size as f64),
            ("PARTS", parts as f64),
            ("ENTRY", self.entry as f64),
        ];
        let own = [("COUNT", shapes.input_elements(0) as f64), ("EACH", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        bindings.extend([("slopes", Operand::Input(2)), ("parts", Operand::Scratch(0))]);
        let shares = Dispatch {
            kernel: kernel(&elements, "activation_learnable_backward", Some(&team), &constants),
            bindings,
            groups: grid(team.workgroups(parts)),
        };
        let total = Dispatch {
            kernel: kernel(&elements, "slope_total", Some(&team), &shared),
            bindings: vec![("parts", Operand::Scratch(0)), ("dslopes", Operand::Output(1))],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, total], scratch: vec![parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    /// Where it adds up the gradient of a slope.
    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        (self.kind == Kind::Learnable).then(|| Tuning::of(key(shapes), &Team::ways(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (self.kind.flops() + 2) * shapes.input_elements(0) as u64
    }
}

/// Every kind over sizes around a vector and a team's share; inputs keep their distance from the kink at 0,
/// where central differences would see both sides.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = [Kind::Gelu, Kind::GeluNew, Kind::Relu, Kind::Leaky { slope: 0.1 }, Kind::Learnable];
    for kind in kinds {
        let f32s = [(1, 1), (3, 7), (37, 131), (64, 512)].map(|shape| (shape, DType::F32));
        let f16s = [(3, 7), (37, 131), (64, 512)].map(|shape| (shape, DType::F16));
        for ((rows, width), dtype) in f32s.into_iter().chain(f16s) {
            let label = format!("{kind:?} [{rows}, {width}] of {dtype:?}");
            let mut case = CaseBuilder::new("activation", label, seed);
            let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(2.0));
            // A sample of values where exponentials vanish, and one beyond every clamp.
            let distant = |(i, &v): (usize, &f32)| match i % 97 {
                40 => v.signum() * 12.5,
                41 => v.signum() * 150.0,
                _ => v.signum() * v.abs().max(0.02),
            };
            let values = case.values(x).iter().enumerate().map(distant).collect();
            case.set(x, values);
            cases.push(finished(case, kind, x));
        }
    }
    cases
}

/// One activation; two that share an entry where the slope is learnable.
fn finished(mut case: CaseBuilder, kind: Kind, x: TensorId) -> Case {
    // A few roundings of a term, times the factor of up to 2 between x·P and its place in the sum: the fit's
    // 1.2e-7 counts relative to the largest |x|. exp of a WGSL driver may be 3 + 2|x| units off, but its
    // result is then small as well.
    let bound = if case.tape.info(x).dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
    if kind != Kind::Learnable {
        let y = case.tape.activation_function(x, kind, None);
        return case.finish(&[y], &[], bound);
    }
    let slopes = case.parameter("slopes", &[3], Fill::Around(0.1, 0.01));
    let first = case.tape.activation_function(x, kind, Some((slopes, 1)));
    let y = case.tape.activation_function(first, kind, Some((slopes, 1)));
    // The gradient of an f16 tensor that is read twice would be a sum in f16, which no op makes.
    let (seeded, watched) = match case.tape.info(first).dtype {
        DType::F16 => (vec![y], vec![first]),
        _ => (vec![y, first], vec![]),
    };
    let mut finished = case.finish(&seeded, &watched, bound);
    // The sum of many terms of both signs can come near zero by chance; a start of twice the terms' own scale,
    // √32768 · |dy·x| ≈ 1000, keeps the magnitude there.
    let gradient = finished.tape.known_gradient(slopes).expect("slopes have a gradient");
    for (tensor, values) in &mut finished.values {
        if *tensor == gradient {
            values.fill(2000.0);
        }
    }
    finished
}
