//! The mean entropy of every attention head, and the number of its rows that are not finite.
//!
//! For each head h, over the B*T rows of entropy [B, H, T]:
//! mean_h += weight * (mean of the rows; NaN if one is not finite), nonfinite_h += number of rows not finite. A mean over
//! only the finite rows would look valid, but cover different rows at every step.
//!
//! Shapes: mean, nonfinite `[H]`. The op adds to both, so that micro-batches of weight 1/accumulation add up to a
//! step. An observation: it has no adjoint. The order of addition is fixed.

use super::{Kernel, Op, Operand, Recipe, Shapes, Traits, axis};
use crate::cores::functions::sum;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Io, Tape, TensorId};

/// The op; see the module's documentation.
#[derive(Clone, Debug)]
pub struct HeadEntropy {
    /// The factor of the mean.
    pub weight: f32,
}

impl Tape {
    /// Records the reduction of `entropy` [B, H, T], which adds to `mean` and `nonfinite`, both `[H]`.
    pub fn head_entropy(&mut self, entropy: TensorId, mean: TensorId, nonfinite: TensorId, weight: f32) {
        let (_, heads, _) = extents(self.shape(entropy).dims());
        for to in [mean, nonfinite] {
            assert_eq!(self.shape(to).dims(), [heads], "head_entropy: {}", self.info(to).name);
        }
        self.record(HeadEntropy { weight }, &[entropy], &[mean, nonfinite]);
    }
}

/// Lanes that share a head.
const LANES: usize = 64;

/// B, H and T of a shape [B, H, T].
fn extents(dims: &[usize]) -> (usize, usize, usize) {
    let &[batch, heads, sequence] = dims else { panic!("entropy is [B, H, T], not {dims:?}") };
    (batch, heads, sequence)
}

impl Op for HeadEntropy {
    fn stem(&self) -> &'static str {
        "head_entropy"
    }

    fn name(&self) -> &'static str {
        "head_entropy"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (batch, heads, sequence) = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        for h in 0..heads {
            let rows = (0..batch).flat_map(|b| &inputs[0][(b * heads + h) * sequence..][..sequence]);
            let broken = rows.clone().filter(|nats| !nats.is_finite()).count();
            let mean = if broken > 0 { f64::NAN } else { rows.sum::<f64>() / (batch * sequence) as f64 };
            outputs[0][h] += f64::from(self.weight) * mean;
            outputs[1][h] += broken as f64;
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (batch, heads, sequence) = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        let [means, nonfinite] = outputs else { unreachable!("two outputs") };
        for (h, (mean, nonfinite)) in means.iter_mut().zip(nonfinite.iter_mut()).enumerate() {
            let (mut nats, mut broken) = (0.0, 0_u32);
            for b in 0..batch {
                let row = &inputs[0][(b * heads + h) * sequence..][..sequence];
                nats += f64::from(sum([row], |[nats]| nats));
                broken += row.iter().map(|nats| u32::from(!nats.is_finite())).sum::<u32>();
            }
            // Infinities of both signs are NaN together, but those of one sign are not.
            let nats = if broken > 0 { f64::NAN } else { nats / (batch * sequence) as f64 };
            *mean += (f64::from(self.weight) * nats) as f32;
            *nonfinite += broken as f32;
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let (batch, heads, sequence) = extents(shapes.inputs[0].dims());
        let constants = [
            ("BATCH", batch as f64),
            ("HEADS", heads as f64),
            ("SEQUENCE", sequence as f64),
            ("LANES", LANES as f64),
            ("WEIGHT", f64::from(self.weight)),
        ];
        let text = include_str!("../../shaders/head_entropy.wgsl");
        let kernel = Kernel::new(text, "head_entropy", &constants);
        let bindings =
            [("entropy", Operand::Input(0)), ("mean", Operand::Output(0)), ("nonfinite", Operand::Output(1))];
        Recipe::one(kernel, &bindings, [axis(heads), 1, 1])
            .with_iterations((batch * sequence).div_ceil(LANES))
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

/// One row, prime sizes, more rows than lanes; with rows that are not finite.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (batch, heads, sequence, broken) in
        [(1, 1, 1, false), (2, 3, 7, true), (3, 2, 130, true), (1, 4, 64, false)]
    {
        let label = format!("B={batch} H={heads} T={sequence}, broken rows: {broken}");
        let mut case = CaseBuilder::new("head_entropy", label, seed);
        let shape = [batch, heads, sequence];
        let entropy = case.input("entropy", &shape, Fill::Around(2.0, 0.5));
        if broken {
            let mut values = case.values(entropy).to_vec();
            values[1] = f32::NAN;
            values[heads * sequence + 2] = f32::INFINITY;
            case.set(entropy, values);
        }
        let mean = case.observation("mean", &[heads], 0.25);
        let nonfinite = case.observation("nonfinite", &[heads], 1.0);
        case.tape.head_entropy(entropy, mean, nonfinite, 0.5);
        // Sums of at most a few hundred terms of one sign, in 64 lanes.
        cases.push(case.finish(&[], &[], 1e-6));
    }
    cases
}
