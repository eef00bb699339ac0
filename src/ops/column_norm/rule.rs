//! The rules of norms of columns: from the mean squares v of a micro-batch and the state, the numbers of the forward pass; from the
//! sums of products with the gradient, the coefficients of the backward pass. Both change the state, which is parameters without a
//! gradient. All vectors have a number for each column; powers and quotients are element by element.
//!
//! PowerNorm, as in its authors' code (MaskPowerNorm), whose backward pass divides by the deviation of the micro-batch:
//! s = 1/√(φ + ε), in the warm-up 1/√(v + ε); s′ = 1/√(v + ε); r = 1. Afterwards φ ← 0.9·φ + 0.1·v, where in the warm-up φ is the mean
//! of all v so far first. Backward k = 0.1·Γ, then Γ ← Γ + mean((γ·dy − k·z)∘z). φ is `running`, Γ is `drift`.
//!
//! Unified Normalization, as in its authors' code (UN1d) without the filter of outliers, which they switch off for language: with the
//! last four v, of this micro-batch and three earlier ones, σ² = their geometric mean, in the warm-up v; s = s′ = 1/√(σ² + ε);
//! r = √(σ² + ε)/√(running + ε) within 1/5 and 5, but one in the first steps; running ← 0.9·running + 0.1·σ². Backward, with
//! m = mean(γ·r·dy∘z) of this micro-batch and three earlier ones, in the warm-up of this one: drift ← 0.9·drift + 0.1·mean m, and
//! k = drift.
//!
//! Schedule `[4]`: whether s is that of the micro-batch (1 or 0); the weight of v in the mean of all so far, in the warm-up (else 0);
//! the place in the windows of four; whether r is used.

use super::text::text;
use crate::ops::team::Vectors;
use crate::ops::{Binding, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::tape::{Io, Tape, TensorId};

/// Which norm it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    Power,
    Unified,
}

/// What a norm of columns keeps from step to step.
#[derive(Clone, Copy, Debug)]
pub struct State {
    /// `[d]`: the running mean square, from ones.
    pub running: TensorId,
    /// `[d]`: what k follows, from zeros.
    pub drift: TensorId,
    /// `[4, d]` each, from zeros: the latest v, and the latest m; of Unified Normalization only.
    pub windows: Option<[TensorId; 2]>,
}

impl State {
    /// What the forward pass changes.
    fn of_squares(&self) -> Vec<TensorId> {
        [self.running].into_iter().chain(self.windows.map(|[squares, _]| squares)).collect()
    }

    /// What the backward pass changes.
    pub(super) fn of_gradients(&self) -> Vec<TensorId> {
        [self.drift].into_iter().chain(self.windows.map(|[_, products]| products)).collect()
    }
}

/// How fast running numbers move.
const SHARE: f64 = 0.1;
/// The micro-batches of a window.
pub const WINDOW: usize = 4;

/// The numbers of the forward pass. Inputs: v, schedule. Outputs: numbers `[3, d]`, then the state, which it changes.
#[derive(Debug)]
struct RuleForward {
    rule: Rule,
    epsilon: f32,
}

/// The same outside of training. Input: the running mean square. Output: numbers.
#[derive(Debug)]
struct RuleHeld {
    epsilon: f32,
}

/// Inputs: the sums of dy∘x and dy with γ, numbers, v, schedule. Outputs: the coefficients (p, q), dγ and dβ, to which it adds, then the
/// state, which it changes.
#[derive(Debug)]
pub(super) struct RuleBackward {
    pub rule: Rule,
    pub rows: usize,
}

impl Tape {
    /// Records the numbers of a rule: in training from the mean squares of the micro-batch and the schedule.
    pub(super) fn column_rule(
        &mut self,
        (rule, state): (Rule, &State),
        training: Option<(TensorId, TensorId)>,
        epsilon: f32,
    ) -> TensorId {
        let width = self.shape(state.running).elements();
        let numbers = self.intermediate("norm.numbers", &[3, width]);
        match training {
            None => self.record(RuleHeld { epsilon }, &[state.running], &[numbers]),
            Some((squares, schedule)) => {
                let outputs: Vec<_> = [numbers].into_iter().chain(state.of_squares()).collect();
                self.record(RuleForward { rule, epsilon }, &[squares, schedule], &outputs);
            }
        }
        numbers
    }
}

/// A kernel with a lane for each vector of columns.
fn by_columns(
    (entry, unified): (&'static str, bool),
    columns: usize,
    constants: &[(&'static str, f64)],
    bindings: &[Binding],
) -> Recipe {
    let vectors = Vectors::of(columns);
    let constants = [&[("WIDTH", vectors.width as f64)], constants].concat();
    let kernel = Kernel::new(text([false, false, unified], &vectors), entry, &constants);
    Recipe::one(kernel, bindings, element::lanes(vectors.width))
}

/// The geometric mean of a column of a window.
fn geometric(window: &[f64], column: usize) -> f64 {
    let width = window.len() / WINDOW;
    let [a, b, c, d] = [0, 1, 2, 3].map(|slot| window[slot * width + column]);
    ((a * b).sqrt() * (c * d).sqrt()).sqrt()
}

impl Op for RuleForward {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.rule"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [squares, schedule] = inputs else { unreachable!("two inputs") };
        let [own, weight, slot, ratio] = [0, 1, 2, 3].map(|i| schedule[i]);
        let epsilon = f64::from(self.epsilon);
        let width = squares.len();
        let [numbers, running, window @ ..] = outputs else { unreachable!("two outputs and more") };
        for (column, (&v, running)) in squares.iter().zip(running.iter_mut()).enumerate() {
            let before = *running;
            let (s, r, back) = match self.rule {
                Rule::Power => {
                    let by = if own > 0.0 { v } else { before };
                    let mean = before + weight * (v - before);
                    *running = mean + SHARE * (v - mean);
                    (1.0 / (by + epsilon).sqrt(), 1.0, 1.0 / (v + epsilon).sqrt())
                }
                Rule::Unified => {
                    window[0][slot as usize * width + column] = v;
                    let by = if own > 0.0 { v } else { geometric(window[0], column) };
                    let s = 1.0 / (by + epsilon).sqrt();
                    let r = ((by + epsilon) / (before + epsilon)).sqrt().clamp(0.2, 5.0);
                    *running = before + SHARE * (by - before);
                    (s, if ratio > 0.0 { r } else { 1.0 }, s)
                }
            };
            for (row, number) in [s, r, back].into_iter().enumerate() {
                numbers[row * width + column] = number;
            }
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let unified = self.rule == Rule::Unified;
        let mut bindings = vec![
            ("known_squares", Operand::Input(0)),
            ("schedule", Operand::Input(1)),
            ("numbers", Operand::Output(0)),
            ("running", Operand::Output(1)),
        ];
        bindings.extend(unified.then_some(("window", Operand::Output(2))));
        let epsilon = [("EPSILON", f64::from(self.epsilon))];
        by_columns(("rule_forward", unified), shapes.input_elements(0), &epsilon, &bindings)
    }

    fn accumulates(&self, output: usize) -> bool {
        output > 0
    }
}

impl Op for RuleHeld {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.held"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let width = inputs[0].len();
        for (column, running) in inputs[0].iter().enumerate() {
            let s = 1.0 / (running + f64::from(self.epsilon)).sqrt();
            for (row, number) in [s, 1.0, s].into_iter().enumerate() {
                outputs[0][row * width + column] = number;
            }
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [("held", Operand::Input(0)), ("numbers", Operand::Output(0))];
        let epsilon = [("EPSILON", f64::from(self.epsilon))];
        by_columns(("rule_held", false), shapes.input_elements(0), &epsilon, &bindings)
    }
}

impl Op for RuleBackward {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.rule_backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let [products, numbers, squares, schedule] = inputs else { unreachable!("four inputs") };
        let [coefficients, d_gamma, d_beta, drift, window @ ..] = outputs else {
            unreachable!("four outputs and more")
        };
        let (width, rows) = (squares.len(), self.rows as f64);
        let (own, slot) = (schedule[0], schedule[2] as usize);
        for column in 0..width {
            let [s, r, back] = [0, 1, 2].map(|row| numbers[row * width + column]);
            let (product, sum, gain) =
                (products[column], products[width + column], products[2 * width + column]);
            let mean = gain * r * s * product / rows;
            let k = match self.rule {
                Rule::Power => {
                    let k = SHARE * drift[column];
                    drift[column] += mean - k * s * s * squares[column];
                    k
                }
                Rule::Unified => {
                    window[0][slot * width + column] = mean;
                    let all = (0..WINDOW).map(|slot| window[0][slot * width + column]).sum::<f64>();
                    let mean = if own > 0.0 { mean } else { all / WINDOW as f64 };
                    drift[column] += SHARE * (mean - drift[column]);
                    drift[column]
                }
            };
            coefficients[column] = gain * r * back;
            coefficients[width + column] = k * s * back;
            d_gamma[column] += r * s * product;
            d_beta[column] += sum;
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let unified = self.rule == Rule::Unified;
        let mut bindings = vec![
            ("known_products", Operand::Input(0)),
            ("known_numbers", Operand::Input(1)),
            if unified { ("schedule", Operand::Input(3)) } else { ("known_squares", Operand::Input(2)) },
            ("coefficients", Operand::Output(0)),
            ("dgamma", Operand::Output(1)),
            ("dbeta", Operand::Output(2)),
            ("drift", Operand::Output(3)),
        ];
        bindings.extend(unified.then_some(("window", Operand::Output(4))));
        let rows = [("ROWS", self.rows as f64)];
        by_columns(("rule_backward", unified), shapes.input_elements(2), &rows, &bindings)
    }

    fn accumulates(&self, output: usize) -> bool {
        output > 0
    }
}
