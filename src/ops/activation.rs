//! `y = f(x, p)`, element by element: the feed-forward layer's activation function, one of [`FUNCTIONS`].
//!
//! Shapes: x and y have the same shape and element type. A learned p is one entry of a parameter vector; its gradient
//! is dp`[entry]` += Σ dy·∂f/∂p, summed in two stages in a fixed order.

mod functions;
mod host;
mod smooth;

pub use functions::{Activation, FUNCTIONS, Function, Own, OwnParameter, Parameter};

use super::element::Elements;
use super::team::Team;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, element, grid};
use crate::ops::case::{Case, CaseBuilder, Fill, HALF_BOUND};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: x and, if p is learned, the vector that contains it. Output: y.
#[derive(Debug)]
pub struct ActivationFunction {
    pub activation: Activation,
    pub given: Given,
}

/// Its adjoint. Inputs: x, dy and, if p is learned, the vector that contains it. Outputs: dx and then that vector's
/// gradient, to which it adds.
#[derive(Debug)]
pub struct ActivationBackward {
    pub activation: Activation,
    pub given: Given,
}

/// The source of p.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Given {
    Fixed(f32),
    /// This entry of a parameter vector.
    Learned(usize),
}

impl Tape {
    /// Records an activation function without a learned parameter. Some functions ignore the fixed `p`.
    pub fn activation_function(&mut self, x: TensorId, activation: Activation, p: f32) -> TensorId {
        assert!(!activation.learns(), "{activation} is given no p");
        self.activate(x, activation, Given::Fixed(p), None)
    }

    /// Records an activation function whose p is an entry of a parameter vector. Several calls may share one entry.
    pub fn learned_activation(
        &mut self,
        x: TensorId,
        activation: Activation,
        (vector, entry): (TensorId, usize),
    ) -> TensorId {
        assert!(activation.learns(), "{activation} learns no p");
        let info = self.info(vector);
        assert!(entry < info.shape.elements(), "entry {entry} of {} {}", info.name, info.shape);
        self.activate(x, activation, Given::Learned(entry), Some(vector))
    }

    fn activate(
        &mut self,
        x: TensorId,
        activation: Activation,
        given: Given,
        vector: Option<TensorId>,
    ) -> TensorId {
        let dims = self.shape(x).dims().to_vec();
        let y = self.intermediate_of("activation", &dims, self.info(x).dtype);
        let inputs: Vec<_> = [x].into_iter().chain(vector).collect();
        self.record(ActivationFunction { activation, given }, &inputs, &[y]);
        y
    }
}

impl Given {
    /// p, on the CPU.
    fn value<F: Copy + From<f32>>(self, vector: Option<&&[F]>) -> F {
        match (self, vector) {
            (Self::Learned(entry), Some(vector)) => vector[entry],
            (Self::Fixed(p), _) => F::from(p),
            (Self::Learned(_), None) => unreachable!("a learned p is an input"),
        }
    }

    /// The override constant that passes it to the kernels.
    fn constant(self) -> (&'static str, f64) {
        match self {
            Self::Fixed(p) => ("P", f64::from(p)),
            Self::Learned(entry) => ("ENTRY", entry as f64),
        }
    }

    fn is_learned(self) -> bool {
        matches!(self, Self::Learned(_))
    }
}

/// A kernel of `activation.wgsl`. Kernels that sum over lanes use `team`.
fn kernel(
    elements: &Elements,
    activation: Activation,
    entry: &'static str,
    team: Option<&Team>,
    constants: &[(&'static str, f64)],
) -> Kernel {
    let function = activation.wgsl.expect("the identity is not recorded");
    let team = team.map_or(Team::ALONE, |team| team.kind);
    let flags = [("learned", activation.learns())];
    let texts = [("function", function), ("team", team)];
    Kernel::new(
        elements.text(include_str!("../../shaders/activation.wgsl"), &flags, &texts),
        entry,
        constants,
    )
}

/// An element-wise kernel.
fn element_wise(
    elements: &Elements,
    entry: &'static str,
    (activation, given): (Activation, Given),
    bindings: &[(&'static str, Operand)],
) -> Recipe {
    let constants: Vec<_> = elements.constants().chain([given.constant()]).collect();
    let kernel = kernel(elements, activation, entry, None, &constants);
    Recipe::one(kernel, bindings, element::walk(elements.vectors))
}

/// The tuning key of the adjoint with a learned p.
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
        let p = self.given.value(inputs.get(1));
        for (y, &x) in outputs[0].iter_mut().zip(inputs[0]) {
            *y = (self.activation.value)(x, p);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Some(loops) = self.activation.loops else { return io.in_f64(|io| self.reference(io)) };
        let (inputs, outputs) = io.split();
        loops.values(outputs[0], inputs[0], self.given.value(inputs.get(1)));
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings = vec![("x", elements.read(0)), ("y", Operand::Output(0))];
        let mut entry = "activation_fixed";
        if self.given.is_learned() {
            bindings.push(("learned", Operand::Input(1)));
            entry = "activation_learned";
        }
        element_wise(&elements, entry, (self.activation, self.given), &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        let x = adjoint.input(0);
        let dx = adjoint.fresh_like(0);
        let op = ActivationBackward { activation: self.activation, given: self.given };
        if self.given.is_learned() {
            let (vector, gradient) = (adjoint.input(1), adjoint.parameter_gradient(1));
            adjoint.tape.record(op, &[x, dy, vector], &[dx, gradient]);
        } else {
            adjoint.tape.record(op, &[x, dy], &[dx]);
        }
        if adjoint.wants(0) {
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        self.activation.flops * shapes.input_elements(0) as u64
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
        let p = self.given.value(inputs.get(2));
        let pairs = || inputs[0].iter().zip(inputs[1]);
        for (dx, (&x, dy)) in outputs[0].iter_mut().zip(pairs()) {
            *dx = dy * (self.activation.derivative)(x, p);
        }
        if let (Given::Learned(entry), Parameter::Learned(by_p)) = (self.given, self.activation.parameter) {
            outputs[1][entry] += pairs().map(|(&x, dy)| by_p(x, p) * dy).sum::<f64>();
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let Some(loops) = self.activation.loops else { return io.in_f64(|io| self.reference(io)) };
        let (inputs, outputs) = io.split();
        let (x, dy, p) = (inputs[0], inputs[1], self.given.value(inputs.get(2)));
        loops.gradients(outputs[0], x, dy, p);
        if let Given::Learned(entry) = self.given {
            outputs[1][entry] += loops.parameter(x, dy, p);
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let elements = Elements::of(shapes, device, &[0]);
        let mut bindings =
            vec![("x", elements.read(0)), ("dy", elements.read(1)), ("dx", Operand::Output(0))];
        let own = (self.activation, self.given);
        if !self.given.is_learned() {
            return element_wise(&elements, "activation_fixed_backward", own, &bindings);
        }
        /// The most partial sums; one team adds them up.
        const MOST_PARTS: usize = 4_096;
        let team = Team::chosen(&key(shapes), device);
        let vectors = elements.vectors;
        // Short runs of vectors keep a GPU busy; on a CPU, a workgroup costs more than a few vectors.
        let each = vectors.div_ceil(team.size * MOST_PARTS).max(if device.software { 32 } else { 8 });
        let parts = vectors.div_ceil(team.size * each);
        let shared = [
            ("LANES", team.lanes as f64),
            ("TEAM", team.size as f64),
            ("PARTS", parts as f64),
            self.given.constant(),
        ];
        let own = [("COUNT", shapes.input_elements(0) as f64), ("EACH", each as f64)];
        let constants: Vec<_> = elements.constants().chain(shared).chain(own).collect();
        bindings.extend([("learned", Operand::Input(2)), ("parts", Operand::Scratch(0))]);
        let shares = Dispatch {
            kernel: kernel(
                &elements,
                self.activation,
                "activation_learned_backward",
                Some(&team),
                &constants,
            ),
            bindings,
            groups: grid(team.workgroups(parts)),
        };
        let total = Dispatch {
            kernel: kernel(&elements, self.activation, "learned_total", Some(&team), &shared),
            bindings: vec![("parts", Operand::Scratch(0)), ("d_learned", Operand::Output(1))],
            groups: [1, 1, 1],
        };
        Recipe { dispatches: vec![shares, total], scratch: vec![parts], iterations: each.max(parts) }
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1
    }

    /// It has variants if it sums the gradient of a learned p.
    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        self.given.is_learned().then(|| Tuning::of(key(shapes), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        (self.activation.flops + 2) * shapes.input_elements(0) as u64
    }
}

/// Every function at sizes around a vector and a team's share. Inputs stay away from the kink at 0, where central
/// differences would see both sides.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for activation in Activation::all().filter(|activation| activation.is_by_element()) {
        let f32s = [(1, 1), (3, 7), (37, 131), (64, 512)].map(|shape| (shape, DType::F32));
        let f16s = [(3, 7), (37, 131), (64, 512)].map(|shape| (shape, DType::F16));
        for ((rows, width), dtype) in f32s.into_iter().chain(f16s) {
            let label = format!("{activation} [{rows}, {width}] of {dtype:?}");
            let mut case = CaseBuilder::new("activation", label, seed);
            let x = case.input_of("x", &[rows, width], dtype, Fill::Normal(2.0));
            // A derivative that is not the function's, from −0.1 to 0, would not be that of central differences.
            let least = if activation.word == "helu" { 0.12 } else { 0.02 };
            // Some values where exponentials vanish, and some beyond every clamp.
            let distant = |(i, &v): (usize, &f32)| match i % 97 {
                40 => v.signum() * 12.5,
                41 => v.signum() * 150.0,
                _ => v.signum() * v.abs().max(least),
            };
            let values = case.values(x).iter().enumerate().map(distant).collect();
            case.set(x, values);
            cases.push(finished(case, activation, x));
        }
    }
    cases
}

/// One activation, or two that share an entry if p is learned.
fn finished(mut case: CaseBuilder, activation: Activation, x: TensorId) -> Case {
    // A few roundings of a term, times the factor of up to 2 between x·P and its place in the sum: the fit's 1.2e-7
    // is relative to the largest |x|. A WGSL driver's exp may be off by 3 + 2|x| units, but its result is then small
    // as well.
    let bound = if case.tape.info(x).dtype == DType::F16 { HALF_BOUND } else { 2e-6 };
    if !activation.learns() {
        let y = case.tape.activation_function(x, activation, 0.1);
        return case.finish(&[y], &[], bound);
    }
    let slopes = case.parameter("slopes", &[3], Fill::Around(0.1, 0.01));
    let first = case.tape.learned_activation(x, activation, (slopes, 1));
    let y = case.tape.learned_activation(first, activation, (slopes, 1));
    // Two readers of an f16 tensor would need a sum of f16 gradients, which no op computes.
    let (seeded, watched) = match case.tape.info(first).dtype {
        DType::F16 => (vec![y], vec![first]),
        _ => (vec![y, first], vec![]),
    };
    let mut finished = case.finish(&seeded, &watched, bound);
    // The sum of many terms of both signs can be near zero by chance. A start value of twice the terms' scale,
    // √32768 · |dy·x| ≈ 1000, keeps the magnitude up.
    let gradient = finished.tape.known_gradient(slopes).expect("slopes have a gradient");
    for (tensor, values) in &mut finished.values {
        if *tensor == gradient {
            values.fill(2000.0);
        }
    }
    finished
}
