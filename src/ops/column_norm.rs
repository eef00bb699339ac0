//! Norms of columns: `y = x∘(γ·s) + β` over rows x of width d, where s is one number for each column that comes from the mean squares
//! of the columns, over the rows of a micro-batch and over earlier ones. PowerNorm (Shen et al. 2020, arXiv 2003.07845) and Unified
//! Normalization (Yang et al. 2022, arXiv 2208.01313) are two rules for s; see [`rule`].
//!
//! Shapes: x [.., d]; y the same, in f32 or f16; γ, β `[d]`; numbers `[3, d]` = (s, r, s′) of the rule. The backward pass of both is
//! not the derivative of the forward pass, but what their authors put in its place: with z = x·s, dx = γ·r·s′·dy − k·s′·z, where k
//! follows earlier gradients; dγ += Σ r·dy∘z and dβ += Σ dy over rows, summed in two stages in a fixed order.

mod cases;
mod host;
pub mod rule;
mod sums;
mod text;

pub use cases::cases;
pub use rule::{Rule, State};

use super::team::Vectors;
use super::{Binding, Kernel, Op, Operand, Recipe, Shapes, Traits, element};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rule::RuleBackward;
use std::sync::Arc;
use sums::ColumnProducts;
use text::text;

/// y. Inputs: x, γ, β, numbers, and what the backward pass reads and changes: v, then the schedule and the state, in training.
/// Output: y.
#[derive(Debug)]
struct ColumnNorm {
    rule: Rule,
    training: bool,
}

/// dx. Inputs: x, dy, coefficients `[2, d]` = (p, q), then what is added to dx. Output: dx = p·dy − q·x.
#[derive(Debug)]
struct ColumnNormBackward {
    addend: bool,
}

impl Tape {
    /// Records the norm of the columns of `x` by a rule. Without a `schedule`, outside of training, it uses what `state` holds, and
    /// changes nothing. The result's element type is `result`.
    pub fn column_norm(
        &mut self,
        x: TensorId,
        (gamma, beta): (TensorId, TensorId),
        (rule, state): (Rule, &State),
        schedule: Option<TensorId>,
        epsilon: f32,
        result: DType,
    ) -> TensorId {
        let dims = self.shape(x).dims().to_vec();
        let (_, width) = self.shape(x).as_matrix();
        for vector in [gamma, beta, state.running, state.drift] {
            assert_eq!(self.shape(vector).dims(), [width], "column_norm: {}", self.info(vector).name);
        }
        let squares = schedule.map(|_| self.column_squares(x));
        let numbers = self.column_rule((rule, state), squares.zip(schedule), epsilon);
        let y = self.intermediate_of("norm", &dims, result);
        let mut inputs = vec![x, gamma, beta, numbers];
        inputs.extend(squares);
        inputs.extend(schedule);
        inputs.extend(schedule.into_iter().flat_map(|_| state.of_gradients()));
        self.record(ColumnNorm { rule, training: schedule.is_some() }, &inputs, &[y]);
        y
    }
}

/// A kernel that walks over all vectors of rows.
fn over_rows(
    (entry, half): (&'static str, bool),
    (rows, columns): (usize, usize),
    bindings: &[Binding],
) -> Recipe {
    let vectors = Vectors::of(columns);
    let addend = bindings.iter().any(|(name, _)| *name == "addend");
    let constants = [("ROWS", rows as f64), ("WIDTH", vectors.width as f64)];
    let kernel = Kernel::new(text([addend, half, false], &vectors), entry, &constants);
    Recipe::one(kernel, bindings, element::walk(rows * vectors.width))
}

impl Op for ColumnNorm {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, gamma, beta, numbers, ..] = inputs else { unreachable!("four inputs and more") };
        for (i, (y, x)) in outputs[0].iter_mut().zip(*x).enumerate() {
            let column = i % width;
            *y = x * numbers[column] * gamma[column] + beta[column];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::forward(width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let bindings = [
            ("x", Operand::Input(0)),
            ("gamma", Operand::Input(1)),
            ("beta", Operand::Input(2)),
            ("known_numbers", Operand::Input(3)),
            ("y", Operand::Output(0)),
        ];
        over_rows(("normalize", shapes.half_output(0)), shapes.inputs[0].as_matrix(), &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(dy) = adjoint.gradient(0) else { return };
        assert!(self.training, "only training has a backward pass");
        let Self { rule, .. } = *self;
        let [x, gamma, numbers, squares, schedule] = [0, 1, 3, 4, 5].map(|i| adjoint.input(i));
        let state: Vec<TensorId> = (6..adjoint.inputs()).map(|i| adjoint.input(i)).collect();
        let (rows, width) = adjoint.tape.shape(x).as_matrix();
        let products = adjoint.tape.intermediate("norm.products", &[3, width]);
        adjoint.tape.record(ColumnProducts, &[x, dy, gamma], &[products]);
        let coefficients = adjoint.tape.intermediate("norm.coefficients", &[2, width]);
        let (d_gamma, d_beta) = (adjoint.parameter_gradient(1), adjoint.parameter_gradient(2));
        let outputs: Vec<_> = [coefficients, d_gamma, d_beta].into_iter().chain(state).collect();
        let inputs = [products, numbers, squares, schedule];
        adjoint.tape.record(RuleBackward { rule, rows }, &inputs, &outputs);
        if adjoint.wants(0) {
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(ColumnNormBackward { addend: false }, &[x, dy, coefficients], &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl Op for ColumnNormBackward {
    fn stem(&self) -> &'static str {
        "column_norm"
    }

    fn name(&self) -> &'static str {
        "column_norm.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, dy, coefficients, addend @ ..] = inputs else { unreachable!("three inputs and more") };
        let (p, q) = coefficients.split_at(width);
        for (i, dx) in outputs[0].iter_mut().enumerate() {
            let past: f64 = addend.iter().map(|addend| addend[i]).sum();
            *dx = past + p[i % width] * dy[i] - q[i % width] * x[i];
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        host::backward(width, inputs, outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("dy", Operand::Input(1)),
            ("known_coefficients", Operand::Input(2)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.addend.then_some(("addend", Operand::Input(3))));
        over_rows(("backward", shapes.half_input(1)), shapes.inputs[0].as_matrix(), &bindings)
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}
