//! The penalty on attention entropy, which a loss adds to the cross-entropy: the regularizer of arXiv 2501.03489
//! (algorithm 1, and the code of its appendix B).
//!
//! With E_max = ln T, a head's trained threshold θ_h, a margin γ, and f(δ) = δ² where |δ| > γ·E_max, else 0:
//!
//! | [`Penalized`] | penalty_h += |
//! | --- | --- |
//! | `RowMean` | weight · mean over rows of f(H_row − θ_h·E_max) |
//! | `RowSum` | weight · Σ over rows of the same |
//! | `HeadMean` | weight · f(mean over rows of H − θ_h·E_max) |
//!
//! The paper's algorithm takes the mean of a head's entropies. Its code squares each row's deviation and adds up all rows
//! of a batch, so the batch size becomes part of the weight.
//!
//! Shapes: entropy [B, H, T] in nats, threshold and penalty `[H]`; the op adds to penalty. f jumps by (γ·E_max)² at the
//! margin; the gradient ignores the jump. If a row is not finite, neither is the penalty.
//! Adjoint: [`EntropyPenaltyBackward`]; the gradient of each penalty_h is one. In mixed precision it is multiplied by the
//! loss scale, like the gradients it is added to.

mod host;

use super::unroll::unrolled;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, axis};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use host::Penalty;

/// What is compared with the threshold, and how a head's rows are reduced to one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Penalized {
    RowMean,
    RowSum,
    HeadMean,
}

/// The op. Inputs: entropy, threshold, and the loss scale if there is one. Output: penalty, to which it adds.
#[derive(Clone, Debug)]
pub struct EntropyPenalty {
    pub of: Penalized,
    /// γ.
    pub margin: f64,
    /// The weight of a head's penalty.
    pub weight: f64,
}

/// Its adjoint. The same inputs. Outputs: d_entropy and d_threshold; with `accumulate`, it adds to the latter.
#[derive(Clone, Debug)]
pub struct EntropyPenaltyBackward {
    pub of: EntropyPenalty,
    pub accumulate: bool,
}

impl Tape {
    /// Records `penalty` += the penalty on `entropy` [B, H, T] with `threshold` `[H]`. `scaling` is the state of the loss scale
    /// in mixed precision; see [`super::gradient_norm`].
    pub fn entropy_penalty(
        &mut self,
        op: EntropyPenalty,
        (entropy, threshold): (TensorId, TensorId),
        penalty: TensorId,
        scaling: Option<TensorId>,
    ) {
        let heads = extents(self.shape(entropy).dims())[1];
        for of in [threshold, penalty] {
            assert_eq!(self.shape(of).dims(), [heads], "entropy_penalty: {}", self.info(of).name);
        }
        let inputs: Vec<_> = [entropy, threshold].into_iter().chain(scaling).collect();
        self.record(op, &inputs, &[penalty]);
    }
}

/// B, H and T of a shape [B, H, T].
fn extents(dims: &[usize]) -> [usize; 3] {
    <[usize; 3]>::try_from(dims).unwrap_or_else(|_| panic!("entropy is [B, H, T], not {dims:?}"))
}

impl EntropyPenalty {
    /// ln T.
    fn most(sequence: usize) -> f64 {
        (sequence as f64).ln()
    }

    /// δ if it is beyond the margin, else 0.
    fn beyond(&self, nats: f64, threshold: f64, sequence: usize) -> f64 {
        let most = Self::most(sequence);
        let d = nats - threshold * most;
        if d.is_finite() && d.abs() <= self.margin * most { 0.0 } else { d }
    }

    /// The weight of f of each row, or of the mean.
    fn row_weight(&self, rows: usize) -> f64 {
        if self.of == Penalized::RowMean { self.weight / rows as f64 } else { self.weight }
    }

    /// The dispatch of one of the kernels.
    fn dispatch(
        &self,
        shapes: &Shapes<'_>,
        device: &Traits,
        entry: &'static str,
        accumulate: Option<bool>,
        bindings: &[Binding],
    ) -> Recipe {
        let [batch, heads, sequence] = extents(shapes.inputs[0].dims());
        // Each workgroup has a cost on a CPU; a GPU has enough lanes for a large one.
        let lanes = if device.software { 64 } else { 256 };
        let most = Self::most(sequence);
        let mut constants = vec![
            ("BATCH", batch as f64),
            ("HEADS", heads as f64),
            ("SEQUENCE", sequence as f64),
            ("LANES", lanes as f64),
            ("MEAN", f64::from(u8::from(self.of == Penalized::HeadMean))),
            ("MOST", most),
            ("MARGIN", self.margin * most),
            ("WEIGHT", self.row_weight(batch * sequence)),
        ];
        constants.extend(accumulate.map(|accumulate| ("ACCUMULATE", f64::from(u8::from(accumulate)))));
        let scaled = bindings.iter().any(|&(name, _)| name == "scaling");
        let text = unrolled(include_str!("../../shaders/entropy_penalty.wgsl"), &[], &[("scaled", scaled)]);
        let dispatch = Dispatch {
            kernel: Kernel::new(text, entry, &constants),
            bindings: bindings.to_vec(),
            groups: [axis(heads), 1, 1],
        };
        let iterations = 2 * (batch * sequence).div_ceil(lanes) + 2 * lanes;
        Recipe { dispatches: vec![dispatch], iterations, ..Recipe::default() }
    }
}

/// The entropies of each head's rows.
fn rows(entropy: &[f64], [batch, heads, sequence]: [usize; 3], head: usize) -> impl Iterator<Item = f64> {
    (0..batch).flat_map(move |b| &entropy[(b * heads + head) * sequence..][..sequence]).copied()
}

impl Op for EntropyPenalty {
    fn stem(&self) -> &'static str {
        "entropy_penalty"
    }

    fn name(&self) -> &'static str {
        "entropy_penalty"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let dims @ [batch, heads, sequence] = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        let (count, weight) = (batch * sequence, self.row_weight(batch * sequence));
        for h in 0..heads {
            let squared = |nats: f64| self.beyond(nats, inputs[1][h], sequence).powi(2);
            let rows = rows(inputs[0], dims, h);
            outputs[0][h] += weight
                * match self.of {
                    Penalized::HeadMean => squared(rows.sum::<f64>() / count as f64),
                    Penalized::RowMean | Penalized::RowSum => rows.map(squared).sum(),
                };
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let dims = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        Penalty::new(self, dims, inputs).add_to(outputs[0]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let bindings = [
            ("entropy", Operand::Input(0)),
            ("threshold", Operand::Input(1)),
            ("penalty", Operand::Output(0)),
        ];
        self.dispatch(shapes, device, "entropy_penalty", None, &bindings)
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        assert!(adjoint.gradient(0).is_none(), "a penalty is a loss: its gradient is one");
        let mut inputs = vec![adjoint.input(0), adjoint.input(1)];
        if adjoint.inputs() > 2 {
            inputs.push(adjoint.input(2));
        }
        let d_entropy = adjoint.fresh_like(0);
        let (d_threshold, accumulate) = adjoint.begin_gradient(1);
        let op = EntropyPenaltyBackward { of: self.clone(), accumulate };
        adjoint.tape.record(op, &inputs, &[d_entropy, d_threshold]);
        if adjoint.wants(0) {
            adjoint.contribute(0, d_entropy);
        }
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        4 * shapes.input_elements(0) as u64
    }
}

impl Op for EntropyPenaltyBackward {
    fn stem(&self) -> &'static str {
        "entropy_penalty"
    }

    fn name(&self) -> &'static str {
        "entropy_penalty.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let dims @ [batch, heads, sequence] = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        let count = batch * sequence;
        let scale = inputs.get(2).map_or(1.0, |scaling| scaling[0]);
        let factor = 2.0 * self.of.row_weight(count) * scale;
        for h in 0..heads {
            let slope = |nats: f64| factor * self.of.beyond(nats, inputs[1][h], sequence);
            let entropies: Vec<f64> = rows(inputs[0], dims, h).collect();
            let gradients: Vec<f64> = match self.of.of {
                Penalized::HeadMean => {
                    vec![slope(entropies.iter().sum::<f64>() / count as f64) / count as f64; count]
                }
                Penalized::RowMean | Penalized::RowSum => entropies.into_iter().map(slope).collect(),
            };
            let pull = -EntropyPenalty::most(sequence) * gradients.iter().sum::<f64>();
            outputs[1][h] = if self.accumulate { outputs[1][h] + pull } else { pull };
            for (b, row) in gradients.chunks_exact(sequence).enumerate() {
                outputs[0][(b * heads + h) * sequence..][..sequence].copy_from_slice(row);
            }
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let dims = extents(io.input_shape(0).dims());
        let (inputs, outputs) = io.split();
        let scale = inputs.get(2).map_or(1.0, |scaling| scaling[0]);
        let [d_entropy, d_threshold] = outputs else { unreachable!("two outputs") };
        Penalty::new(&self.of, dims, inputs).gradients(scale, self.accumulate, d_entropy, d_threshold);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let mut bindings = vec![
            ("entropy", Operand::Input(0)),
            ("threshold", Operand::Input(1)),
            ("d_entropy", Operand::Output(0)),
            ("d_threshold", Operand::Output(1)),
        ];
        if shapes.inputs.len() > 2 {
            bindings.push(("scaling", Operand::Input(2)));
        }
        self.of.dispatch(shapes, device, "entropy_penalty_backward", Some(self.accumulate), &bindings)
    }

    fn accumulates(&self, output: usize) -> bool {
        output == 1 && self.accumulate
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        5 * shapes.input_elements(0) as u64
    }
}

/// Every variant at sizes around a workgroup's lanes; rows and means within the margin and beyond it on both sides, none
/// near it, where f jumps; with a loss scale; with a row that is not finite.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for of in [Penalized::RowMean, Penalized::RowSum, Penalized::HeadMean] {
        // In a step of one micro-batch, the first contribution to a threshold's gradient overwrites.
        for (batch, heads, sequence, scaled, broken, overwrites) in [
            (1, 1, 2, false, false, false),
            (2, 3, 7, true, false, false),
            (3, 4, 130, false, false, true),
            (2, 2, 33, true, false, true),
            (1, 2, 64, false, true, false),
        ] {
            let label = format!(
                "{of:?} B={batch} H={heads} T={sequence}, scaled {scaled}, broken {broken}, overwrites {overwrites}"
            );
            let mut case = CaseBuilder::new("entropy_penalty", label, seed);
            if overwrites {
                case.tape.overwrite_gradients();
            }
            let shape = [batch, heads, sequence];
            let entropy = case.input("entropy", &shape, Fill::Normal(1.0));
            let threshold = case.parameter("threshold", &[heads], Fill::Around(0.5, 0.1));
            // Deviations in units of the margin, one per row or per mean, plus noise too small to cross the margin.
            let (margin, most) = (0.2, EntropyPenalty::most(sequence));
            let share = |at: usize| [0.4, 1.6, -0.5, -1.7, 2.5][at % 5];
            let noise = if of == Penalized::HeadMean { 0.3 } else { 0.2 };
            let thresholds = case.values(threshold).to_vec();
            let mut values: Vec<f32> = case.values(entropy).to_vec();
            for (at, value) in values.iter_mut().enumerate() {
                let head = at / sequence % heads;
                let way = share(if of == Penalized::HeadMean { head } else { at + head });
                let away = f64::from(value.clamp(-1.0, 1.0)) * noise;
                *value = (f64::from(thresholds[head]) * most + (way + away) * margin * most) as f32;
            }
            if broken {
                values[1] = f32::NAN;
            }
            case.set(entropy, values);
            let penalty = case.observation("penalty", &[heads], 0.25);
            let scaling =
                scaled.then(|| case.constant("scaling", &[4], DType::F32, vec![1024.0, 0.0, 0.0, 0.0]));
            let op = EntropyPenalty { of, margin, weight: 0.5 };
            case.tape.entropy_penalty(op, (entropy, threshold), penalty, scaling);
            // The operands of a difference are up to five times its size: 6e-8 · 5, squared or not; then sums of a few hundred
            // terms in 64 lanes, whose signs may differ. A mean is computed before its difference: the roundings of its 64
            // partial sums, up to √64 · 6e-8 of it, count five times in δ, and twice that in its square.
            let mut case = case.finish_loss(penalty, if of == Penalized::HeadMean { 1e-5 } else { 2e-6 });
            if scaled || broken {
                // The gradient is not that of the compared loss: it is scaled or not finite.
                case.leaves.clear();
            }
            cases.push(case);
        }
    }
    cases
}
