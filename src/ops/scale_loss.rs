//! The loss that holds the scale of the residual stream before the head (TaperNorm's, arXiv 2602.10408): weight·Σ (s − s̄)² over rows,
//! with the root mean square s of each row of x and a target s̄ that no longer changes. It takes the place of a final norm, without
//! which a cross-entropy falls as long as the logits grow.
//!
//! Shapes: x [.., d] and s `[rows]` in f32; state `[2]`, of which the second number is s̄: see [`super::taper`], which lets it follow the
//! mean of s; schedule `[2]`, of which the second number is how far it still follows: as long as that is not zero, the loss is zero.
//! s = √(mean x² + ε). The op adds to the loss `[1]`. Adjoint: ds = 2·weight·(s − s̄), in mixed precision times the loss scale, like the
//! gradients it is added to, and dx = ds·x/(d·s).

use super::team::Team;
use super::unroll::unroll;
use super::{Binding, Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, element, grid};
use crate::cores::{dot, rows_per_task, simd};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{Adjoint, DType, Io, Tape, TensorId};
use rayon::prelude::*;
use std::sync::Arc;

/// s of each row. Input: x. Output: s.
#[derive(Clone, Debug)]
struct RowScale {
    epsilon: f32,
}

/// Its adjoint. Inputs: x, s, ds, then what is added to dx. Output: dx.
#[derive(Clone, Debug)]
struct RowScaleBackward {
    addend: bool,
}

/// The loss. Inputs: s, state, schedule, and the loss scale if there is one. Output: loss, to which it adds.
#[derive(Clone, Debug)]
struct ScaleLoss {
    weight: f64,
}

/// Its adjoint. The same inputs. Output: ds.
#[derive(Clone, Debug)]
struct ScaleLossBackward {
    weight: f64,
}

impl Tape {
    /// Records √(mean x² + ε) of each row of `x`, `[rows]`.
    pub fn row_scales(&mut self, x: TensorId, epsilon: f32) -> TensorId {
        let (rows, _) = self.shape(x).as_matrix();
        let scales = self.intermediate("row scales", &[rows]);
        self.record(RowScale { epsilon }, &[x], &[scales]);
        scales
    }

    /// Records `loss` += `weight`·Σ (s − s̄)² over the rows' `scales`, with s̄ of `state` `[2]`, once `schedule` `[2]` no longer moves
    /// it. `scaling` is the state of the loss scale in mixed precision.
    pub fn scale_loss(
        &mut self,
        (scales, state): (TensorId, TensorId),
        schedule: TensorId,
        weight: f64,
        loss: TensorId,
        scaling: Option<TensorId>,
    ) {
        for pair in [state, schedule] {
            assert_eq!(self.shape(pair).dims(), [2], "scale_loss: {}", self.info(pair).name);
        }
        let inputs: Vec<_> = [scales, state, schedule].into_iter().chain(scaling).collect();
        self.record(ScaleLoss { weight }, &inputs, &[loss]);
    }
}

/// A kernel of `scale_loss.wgsl`, and its dispatch.
fn dispatch(
    entry: &'static str,
    team: Option<&Team>,
    [addend, scaled]: [bool; 2],
    constants: &[(&'static str, f64)],
    (bindings, groups): (Vec<Binding>, [u32; 3]),
) -> Dispatch {
    let kind = team.map_or(Team::ALONE, |team| team.kind).to_owned();
    let flags = [("addend", addend), ("scaled", scaled)];
    let text =
        unroll(include_str!("../../shaders/scale_loss.wgsl"), &element::WALK, &flags, &[("team", kind)]);
    let own = team.map(|team| [("TEAM", team.size as f64), ("TEAM_LANES", team.lanes as f64)]);
    let constants: Vec<_> = constants.iter().copied().chain(own.into_iter().flatten()).collect();
    Dispatch { kernel: Kernel::new(text, entry, &constants), bindings, groups }
}

fn recipe(dispatch: Dispatch, iterations: usize) -> Recipe {
    Recipe { dispatches: vec![dispatch], iterations, ..Recipe::default() }
}

impl Op for RowScale {
    fn stem(&self) -> &'static str {
        "scale_loss"
    }

    fn name(&self) -> &'static str {
        "scale_loss.rows"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        for (s, row) in outputs[0].iter_mut().zip(inputs[0].chunks_exact(width)) {
            *s = (row.iter().map(|x| x * x).sum::<f64>() / width as f64 + f64::from(self.epsilon)).sqrt();
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let each = rows_per_task(width);
        let tasks = outputs[0].par_chunks_mut(each).zip(inputs[0].par_chunks(each * width));
        tasks.for_each(|(scales, x)| {
            for (s, row) in scales.iter_mut().zip(x.chunks_exact(width)) {
                *s = (dot(row, row) / width as f64 + f64::from(self.epsilon)).sqrt() as f32;
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        shapes.assert_f32("scale_loss.rows", &[0]);
        let (rows, width) = shapes.inputs[0].as_matrix();
        let team = Team::single(device);
        let constants =
            [("ROWS", rows as f64), ("WIDTH", width as f64), ("EPSILON", f64::from(self.epsilon))];
        let bindings = vec![("x", Operand::Input(0)), ("scales", Operand::Output(0))];
        let place = (bindings, grid(rows));
        recipe(dispatch("row_scales", Some(&team), [false; 2], &constants, place), width.div_ceil(team.size))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        let Some(ds) = adjoint.gradient(0) else { return };
        if adjoint.wants(0) {
            let (x, scales) = (adjoint.input(0), adjoint.output(0));
            let dx = adjoint.fresh_like(0);
            adjoint.tape.record(RowScaleBackward { addend: false }, &[x, scales, ds], &[dx]);
            adjoint.contribute(0, dx);
        }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for RowScaleBackward {
    fn stem(&self) -> &'static str {
        "scale_loss"
    }

    fn name(&self) -> &'static str {
        "scale_loss.rows.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, scales, ds, addend @ ..] = inputs else { unreachable!("three inputs and more") };
        for (i, dx) in outputs[0].iter_mut().enumerate() {
            let row = i / width;
            let past: f64 = addend.iter().map(|addend| addend[i]).sum();
            *dx = past + ds[row] * x[i] / (width as f64 * scales[row]);
        }
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (_, width) = io.input_shape(0).as_matrix();
        let (inputs, outputs) = io.split();
        let [x, scales, ds, addend @ ..] = inputs else { unreachable!("three inputs and more") };
        outputs[0].par_chunks_mut(rows_per_task(width) * width).enumerate().for_each(|(task, dx)| {
            let first = task * rows_per_task(width);
            for (row, dx) in (first..).zip(dx.chunks_exact_mut(width)) {
                let (factor, x) = (ds[row] / (width as f32 * scales[row]), &x[row * width..][..width]);
                simd(
                    #[inline(always)]
                    || match addend {
                        [] => dx.iter_mut().zip(x).for_each(|(dx, x)| *dx = factor * x),
                        [past, ..] => {
                            let past = &past[row * width..][..width];
                            let terms = x.iter().zip(past);
                            dx.iter_mut().zip(terms).for_each(|(dx, (x, past))| *dx = past + factor * x);
                        }
                    },
                );
            }
        });
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let all: Vec<usize> = (0..shapes.inputs.len()).collect();
        shapes.assert_f32("scale_loss.rows.backward", &all);
        let (rows, width) = shapes.inputs[0].as_matrix();
        let mut bindings = vec![
            ("x", Operand::Input(0)),
            ("known_scales", Operand::Input(1)),
            ("ds", Operand::Input(2)),
            ("dx", Operand::Output(0)),
        ];
        bindings.extend(self.addend.then_some(("addend", Operand::Input(3))));
        let place = (bindings, element::walk(rows * width));
        let constants = [("ROWS", rows as f64), ("WIDTH", width as f64)];
        recipe(dispatch("backward", None, [self.addend, false], &constants, place), 0)
    }

    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        (!self.addend).then(|| Arc::new(Self { addend: true }) as Arc<dyn Op>)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

impl Op for ScaleLoss {
    fn stem(&self) -> &'static str {
        "scale_loss"
    }

    fn name(&self) -> &'static str {
        "scale_loss"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        if inputs[2][1] == 0.0 {
            outputs[0][0] += self.weight * inputs[0].iter().map(|s| (s - inputs[1][1]).powi(2)).sum::<f64>();
        }
    }

    /// One number a row: one thread adds them up, in f64.
    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        if inputs[2][1] == 0.0 {
            let target = f64::from(inputs[1][1]);
            let sum: f64 = inputs[0].iter().map(|&s| (f64::from(s) - target).powi(2)).sum();
            outputs[0][0] = (f64::from(outputs[0][0]) + self.weight * sum) as f32;
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let rows = shapes.input_elements(0);
        let team = Team::single(device);
        let bindings = vec![
            ("known_scales", Operand::Input(0)),
            ("state", Operand::Input(1)),
            ("schedule", Operand::Input(2)),
            ("loss", Operand::Output(0)),
        ];
        let constants = [("ROWS", rows as f64), ("WEIGHT", self.weight)];
        let place = (bindings, [1, 1, 1]);
        recipe(dispatch("scale_loss", Some(&team), [false; 2], &constants, place), rows.div_ceil(team.size))
    }

    fn adjoint(&self, adjoint: &mut Adjoint<'_>) {
        assert!(adjoint.gradient(0).is_none(), "it is a loss: its gradient is one");
        let inputs: Vec<_> = (0..adjoint.inputs()).map(|i| adjoint.input(i)).collect();
        let ds = adjoint.fresh_like(0);
        adjoint.tape.record(ScaleLossBackward { weight: self.weight }, &inputs, &[ds]);
        adjoint.contribute(0, ds);
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        3 * shapes.input_elements(0) as u64
    }
}

impl ScaleLossBackward {
    /// What a deviation is multiplied by.
    fn factor(&self, schedule: f64, scale: f64) -> f64 {
        if schedule == 0.0 { 2.0 * self.weight * scale } else { 0.0 }
    }
}

impl Op for ScaleLossBackward {
    fn stem(&self) -> &'static str {
        "scale_loss"
    }

    fn name(&self) -> &'static str {
        "scale_loss.backward"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let factor = self.factor(inputs[2][1], inputs.get(3).map_or(1.0, |scaling| scaling[0]));
        outputs[0].iter_mut().zip(inputs[0]).for_each(|(ds, s)| *ds = factor * (s - inputs[1][1]));
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let scale = inputs.get(3).map_or(1.0, |scaling| scaling[0]);
        let factor = self.factor(inputs[2][1].into(), scale.into()) as f32;
        outputs[0].iter_mut().zip(inputs[0]).for_each(|(ds, s)| *ds = factor * (s - inputs[1][1]));
    }

    fn recipe(&self, shapes: &Shapes<'_>, _device: &Traits) -> Recipe {
        let rows = shapes.input_elements(0);
        let scaled = shapes.inputs.len() > 3;
        let mut bindings = vec![
            ("known_scales", Operand::Input(0)),
            ("state", Operand::Input(1)),
            ("schedule", Operand::Input(2)),
            ("d_scales", Operand::Output(0)),
        ];
        bindings.extend(scaled.then_some(("scaling", Operand::Input(3))));
        let constants = [("ROWS", rows as f64), ("WEIGHT", self.weight)];
        let place = (bindings, element::lanes(rows));
        recipe(dispatch("d_scale_loss", None, [false, scaled], &constants, place), 0)
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

/// Rows around a team and a vector; a target that still moves, and one that does not; a gradient that meets another; a loss scale.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (rows, width, share, scale) in [
        (1, 4, 0.0, None),
        (37, 131, 0.0, None),
        (64, 256, 0.0, Some(1024.0)),
        (130, 20, 0.1, None),
        (300, 64, 0.0, None),
    ] {
        let label = format!("{rows}x{width}, share {share}, loss scale {scale:?}");
        let mut case = CaseBuilder::new("scale_loss", label, seed);
        let x = case.input("x", &[rows, width], Fill::Normal(1.5));
        let state = case.constant("state", &[2], DType::F32, vec![1.0, 1.2]);
        let schedule = case.constant("schedule", &[2], DType::F32, vec![1.0, share]);
        let scaling =
            scale.map(|scale| case.constant("scaling", &[4], DType::F32, vec![scale, 0.0, 0.0, 0.0]));
        let scales = case.tape.row_scales(x, 1e-6);
        let loss = case.observation("loss", &[1], 0.0);
        case.tape.scale_loss((scales, state), schedule, 0.1 / rows as f64, loss, scaling);
        // Once more, so that two gradients meet.
        let scales = case.tape.row_scales(x, 1e-3);
        case.tape.scale_loss((scales, state), schedule, 0.2 / rows as f64, loss, scaling);
        // Two sums of up to a few hundred numbers of one sign, a root, and the difference of neighbouring numbers.
        let mut case = case.finish_loss(loss, 2e-5);
        if scale.is_some() {
            // The gradient is not that of the compared loss.
            case.leaves.clear();
        }
        cases.push(case);
    }
    cases
}
