//! What attention adds to the mean square of the residual stream, by BHyT's estimate (arXiv 2601.09719):
//! `k = factor·λ²·‖W_V·W_O‖²_F`, with factor = 1/(κ²·T·d).
//!
//! Shapes: the packed matrix of queries, keys and values `[d, 3·d]`, whose last d columns are W_V; W_O `[d, d]`; λ and k `[1]`; d is a
//! multiple of 4. Sums are of each row of the product, then of rows, in a fixed order. It has no gradient, as in the paper's
//! code, which computes it without one; that of λ is BHyT's.

mod host;

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, grid};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};

/// The op. Inputs: the packed matrix, W_O, λ. Output: k.
#[derive(Debug)]
struct AttentionVariance {
    factor: f32,
}

impl Tape {
    /// Records factor·λ²·‖W_V·W_O‖²_F; `packed` is `[d, 3·d]`, `output` `[d, d]`.
    pub fn attention_variance(
        &mut self,
        packed: TensorId,
        output: TensorId,
        lambda: TensorId,
        factor: f32,
    ) -> TensorId {
        let width = self.shape(output).dims()[0];
        assert_eq!(self.shape(output).dims(), [width, width], "{}", self.info(output).name);
        assert_eq!(self.shape(packed).dims(), [width, 3 * width], "{}", self.info(packed).name);
        assert_eq!(self.shape(lambda).dims(), [1], "{}", self.info(lambda).name);
        let added = self.intermediate("norm.added", &[1]);
        self.record(AttentionVariance { factor }, &[packed, output, lambda], &[added]);
        added
    }
}

impl Op for AttentionVariance {
    fn stem(&self) -> &'static str {
        "attention_variance"
    }

    fn name(&self) -> &'static str {
        "attention_variance"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (width, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let mut squares = 0.0;
        for row in inputs[0].chunks(columns) {
            let mut product = vec![0.0; width];
            for (v, o) in row[columns - width..].iter().zip(inputs[1].chunks(width)) {
                product.iter_mut().zip(o).for_each(|(sum, o)| *sum += v * o);
            }
            squares += product.iter().map(|v| v * v).sum::<f64>();
        }
        outputs[0][0] = f64::from(self.factor) * inputs[2][0] * inputs[2][0] * squares;
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (width, columns) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let squares = host::squares(inputs[0], columns, inputs[1], width);
        let lambda = f64::from(inputs[2][0]);
        outputs[0][0] = (f64::from(self.factor) * lambda * lambda * squares) as f32;
    }

    /// # Panics
    /// If d is not a multiple of 4.
    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("attention_variance", &[0, 1]);
        let (width, columns) = shapes.inputs[0].as_matrix();
        assert!(width.is_multiple_of(4), "rows of whole vectors");
        let team = Team::single(device);
        let text = |kind: &str| {
            let texts = [("team", kind.to_owned())];
            unroll(include_str!("../../shaders/attention_variance.wgsl"), &[], &[], &texts)
        };
        let text = text(team.kind);
        let shared = [("WIDTH", width as f64), ("LANES", team.lanes as f64), ("TEAM", team.size as f64)];
        let own = [("COLUMNS", columns as f64)];
        let rows = Dispatch {
            kernel: Kernel::new(text.clone(), "row_squares", &[&shared[..], &own].concat()),
            bindings: vec![
                ("packed", Operand::Input(0)),
                ("output", Operand::Input(1)),
                ("squares", Operand::Scratch(0)),
            ],
            groups: grid(team.workgroups(width)),
        };
        let own = [("FACTOR", f64::from(self.factor))];
        let total = Dispatch {
            kernel: Kernel::new(text, "added_variance", &[&shared[..], &own].concat()),
            bindings: vec![
                ("squares", Operand::Scratch(0)),
                ("lambda", Operand::Input(2)),
                ("added", Operand::Output(0)),
            ],
            groups: [1, 1, 1],
        };
        let iterations = width * (width / 4).div_ceil(team.size);
        Recipe { dispatches: vec![rows, total], scratch: vec![width], iterations }
    }

    /// None: it is an estimate, which training takes as given.
    fn adjoint(&self, _adjoint: &mut Adjoint<'_>) {}

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * (shapes.input_elements(1) * shapes.inputs[1].dims()[0]) as u64
    }
}

/// Widths around a team's.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for width in [4, 20, 64, 128, 132] {
        let mut case = CaseBuilder::new("attention_variance", format!("{width}"), seed);
        let mut drawn = |name: &str, shape: &[usize]| {
            let values = (0..shape.iter().product()).map(|_| case.draw(Fill::Normal(0.3))).collect();
            case.constant(name, shape, DType::F32, values)
        };
        let packed = drawn("packed", &[width, 3 * width]);
        let output = drawn("output", &[width, width]);
        let lambda = drawn("lambda", &[1]);
        let added = case.tape.attention_variance(packed, output, lambda, 0.7);
        // Sums of up to 132 products, squared, and of squares, which are all positive.
        cases.push(case.finish(&[], &[added], 4e-6));
    }
    cases
}
