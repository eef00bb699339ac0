//! The global gradient norm with its clip factor, and the gate before the update.
//!
//! norm = √Σ g², clip = min(1, max_norm / (norm + 1e-6)) (PyTorch's `clip_grad_norm_`; 1 where max_norm is 0).
//! The gate closes at the first step whose loss or norm is not finite and stays closed until the host responds:
//! the parameters keep their last good values even though later steps are already in flight. The policy `record`
//! keeps it open.
//!
//! Shapes: gradients `[P]`, loss `[1]`, policy `[2]` = (max_norm, record) → verdict `[4]` = (norm, clip, open, halted).
//!
//! In mixed precision, the gradients are multiplied by a loss scale S, a power of two. This op also maintains its state,
//! scaling `[4]` = (S, good steps since S changed, S of this step, overflowed), on the device, so that no step waits for
//! the host. norm is that of the true gradient; clip divides S out. If, at S > 1, a step's loss is finite but its gradient
//! is not, f16 overflowed: the gate closes for this step only, and S halves. After `window` good steps S doubles, up to
//! [`LARGEST_SCALE`]. At S = 1, or in the loss, S is not the cause of a number that is not finite: the gate closes as
//! above.

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, Tuning, WINDOW_ELEMENTS, grid};
use crate::cores::squares;
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};
use std::sync::Arc;

/// The largest loss scale. A larger one would not save any more gradients from f16 underflow: one that is still below 6e-8
/// after scaling by 2²⁴ is below 4e-15.
pub const LARGEST_SCALE: u32 = 1 << 24;

/// The op; see the module's documentation.
#[derive(Debug)]
struct GradientNorm {
    /// The number of good steps after which the loss scale doubles, if there is one.
    window: Option<u32>,
}

impl Tape {
    /// Records the norm of `gradients` and the verdict on this step. `scaling` is the state of the loss scale and the
    /// number of good steps after which it doubles.
    pub fn gradient_norm(
        &mut self,
        gradients: TensorId,
        loss: TensorId,
        policy: TensorId,
        verdict: TensorId,
        scaling: Option<(TensorId, u32)>,
    ) {
        let elements = self.shape(gradients).elements();
        assert!(
            elements.is_multiple_of(64),
            "an arena of {elements} elements: every tensor in it is padded to 64"
        );
        let op = GradientNorm { window: scaling.map(|(_, window)| window) };
        let outputs: Vec<_> = [verdict].into_iter().chain(scaling.map(|(state, _)| state)).collect();
        self.record(op, &[gradients, loss, policy], &outputs);
    }
}

/// Vectors that one team sums: enough to amortize its start, few enough to keep sums short.
const EACH: usize = 4096;

impl GradientNorm {
    /// The norm, the verdict and the state of the loss scale for a sum of squares.
    fn close(&self, total: f64, loss: f64, policy: &[f64], outputs: &mut [&mut [f64]]) {
        let loss_scale = outputs.get(1).map_or(1.0, |scaling| scaling[0]);
        let (norm, max_norm, record) = (total.sqrt() / loss_scale, policy[0], policy[1] != 0.0);
        let factor = max_norm / (norm + 1e-6);
        // NaN stays NaN, as in PyTorch; `min` would drop it.
        let clip = if max_norm <= 0.0 || factor > 1.0 { 1.0 } else { factor };
        let sound = total.is_finite() && loss.is_finite();
        let before = outputs[0][3] != 0.0;
        let halted = !record && (!sound || before);
        let flag = |set: bool| f64::from(u8::from(set));
        outputs[0].copy_from_slice(&[norm, clip / loss_scale, flag(!halted), flag(halted)]);
        let (Some(scaling), Some(window)) = (outputs.get(1).map(|scaling| scaling.to_vec()), self.window)
        else {
            return;
        };
        let good = scaling[1] + 1.0;
        let grown = (2.0 * loss_scale).min(f64::from(LARGEST_SCALE));
        let next = if loss.is_finite() && !total.is_finite() && loss_scale > 1.0 && !before {
            outputs[0][2..].copy_from_slice(&[0.0, 0.0]);
            [loss_scale / 2.0, 0.0, loss_scale, 1.0]
        } else if !sound || halted {
            [loss_scale, scaling[1], loss_scale, 0.0]
        } else if good >= f64::from(window) {
            [grown, 0.0, loss_scale, 0.0]
        } else {
            [loss_scale, good, loss_scale, 0.0]
        };
        outputs[1].copy_from_slice(&next);
    }
}

impl Op for GradientNorm {
    fn stem(&self) -> &'static str {
        "gradient_norm"
    }

    fn name(&self) -> &'static str {
        "gradient_norm"
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let total: f64 = inputs[0].iter().map(|g| g * g).sum();
        self.close(total, inputs[1][0], inputs[2], outputs);
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<_>>();
        let mut closed: Vec<Vec<f64>> = outputs.iter().map(|output| wide(output)).collect();
        let mut borrowed: Vec<&mut [f64]> = closed.iter_mut().map(Vec::as_mut_slice).collect();
        let total = squares(inputs[0]);
        self.close(total, f64::from(inputs[1][0]), &wide(inputs[2]), &mut borrowed);
        for (output, closed) in outputs.iter_mut().zip(closed) {
            output.iter_mut().zip(closed).for_each(|(output, value)| *output = value as f32);
        }
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let team = match self.tuning(shapes, device) {
            Some(tuning) => Team::chosen(&tuning.key, device),
            None => Team::of(device),
        };
        // One text for all windows, since a large model has many.
        let text = |scaled| {
            let flags = [("scaled", scaled), ("images", device.software)];
            let texts = [("team", team.kind.to_owned())];
            unroll(include_str!("../../shaders/gradient_norm.wgsl"), &[], &flags, &texts)
        };
        let (squares, close) = (text(false), text(self.window.is_some()));
        let kernel = |text: &Arc<str>, entry, constants: &[(&'static str, f64)]| {
            let constants = [&[("TEAM", team.size as f64), ("LANES", team.lanes as f64)], constants].concat();
            Kernel { text: text.clone(), entry, constants }
        };
        let elements = shapes.input_elements(0);
        let mut dispatches = Vec::new();
        let mut partials = 0;
        for (offset, length) in arena_windows(elements, device) {
            let vectors = length.div_ceil(4);
            let groups = vectors.div_ceil(EACH);
            let constants =
                [("VECTORS", vectors as f64), ("EACH", EACH as f64), ("PARTIAL", partials as f64)];
            let window = match device.software {
                true => Operand::InputWindowImage { input: 0, offset, length },
                false => Operand::InputWindow { input: 0, offset, length },
            };
            dispatches.push(Dispatch {
                kernel: kernel(&squares, "squares", &constants),
                bindings: vec![("gradients", window), ("partials", Operand::Scratch(0))],
                groups: grid(team.workgroups(groups)),
            });
            partials += groups;
        }
        let mut constants = vec![("PARTIALS", partials as f64)];
        let mut bindings = vec![
            ("partial_sums", Operand::Scratch(0)),
            ("loss", Operand::Input(1)),
            ("policy", Operand::Input(2)),
            ("verdict", Operand::Output(0)),
        ];
        if let Some(window) = self.window {
            constants.extend([("GROW_EVERY", f64::from(window)), ("LARGEST", f64::from(LARGEST_SCALE))]);
            bindings.push(("scaling", Operand::Output(1)));
        }
        dispatches.push(Dispatch {
            kernel: kernel(&close, "close", &constants),
            bindings,
            groups: [1, 1, 1],
        });
        Recipe { dispatches, scratch: vec![partials], iterations: partials.div_ceil(team.size).max(EACH) }
    }

    /// No variants with a loss scale: its state determines what the kernel computes, and an op timed alone has no state.
    fn tuning(&self, shapes: &Shapes<'_>, device: &Traits) -> Option<Tuning> {
        let key = || format!("gradient_norm {}", shapes.input_elements(0));
        self.window.is_none().then(|| Tuning::of(key(), &Team::variants(device)))
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

/// Ranges (offset, length) of a tensor that each fit one binding. They start at multiples of 128 elements, which are
/// multiples of 256 bytes in f16 too.
pub(super) fn windows(elements: usize, device: &Traits) -> impl Iterator<Item = (usize, usize)> + use<> {
    windows_of(elements, (device.max_binding / 512 * 128) as usize)
}

/// The same for an arena. Software drivers read arenas as images, many times faster than buffers; there each range fits
/// one image.
pub(super) fn arena_windows(
    elements: usize,
    device: &Traits,
) -> impl Iterator<Item = (usize, usize)> + use<> {
    let binding = (device.max_binding / 512 * 128) as usize;
    windows_of(elements, if device.software { binding.min(WINDOW_ELEMENTS) } else { binding })
}

fn windows_of(elements: usize, most: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..elements).step_by(most).map(move |offset| (offset, most.min(elements - offset)))
}

/// Sizes around a workgroup's range; normal, clipped and broken gradients; each policy.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for (elements, spread, policy, broken) in [
        (64, 1e-3, [1.0, 0.0], None),
        (64 * 700, 1.0, [1.0, 0.0], None),
        (64 * 300, 1e-9, [0.0, 0.0], None),
        (64 * 3, 1.0, [1.0, 0.0], Some(f32::NAN)),
        (64 * 3, 1.0, [1.0, 0.0], Some(f32::INFINITY)),
        (64 * 3, 1.0, [1.0, 1.0], Some(f32::NAN)),
    ] {
        let mut case =
            CaseBuilder::new("gradient_norm", format!("P={elements} policy={policy:?} {broken:?}"), seed);
        let gradients = case.input("gradients", &[elements], Fill::Normal(spread));
        if let Some(value) = broken {
            let mut values = case.values(gradients).to_vec();
            values[elements / 2] = value;
            case.set(gradients, values);
        }
        let loss = case.constant("loss", &[1], DType::F32, vec![3.0]);
        let policy = case.constant("policy", &[2], DType::F32, policy.to_vec());
        let verdict = case.observation("verdict", &[4], 0.0);
        case.tape.gradient_norm(gradients, loss, policy, verdict, None);
        // Sequential sums of n/lanes positive terms, here 44,800 / 8 at most: the relative error is below n/lanes · 6e-8;
        // measured errors are far smaller because roundings cancel.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    // The loss scale: kept, doubled after a window, capped at the largest, halved, not below one; a broken loss.
    for (scale, good, loss, policy, broken) in [
        (4.0, 0.0, 3.0, [1.0, 0.0], None),
        (4.0, 4.0, 3.0, [1.0, 0.0], None),
        (LARGEST_SCALE as f32, 4.0, 3.0, [0.0, 0.0], None),
        (4.0, 3.0, 3.0, [1.0, 0.0], Some(f32::INFINITY)),
        (2.0, 1.0, 3.0, [1.0, 1.0], Some(f32::NAN)),
        (1.0, 1.0, 3.0, [1.0, 0.0], Some(f32::INFINITY)),
        (1.0, 1.0, 3.0, [1.0, 1.0], Some(f32::INFINITY)),
        (4.0, 1.0, f32::NAN, [1.0, 0.0], Some(f32::NAN)),
    ] {
        let label = format!("scale {scale} after {good} steps, loss {loss}, policy={policy:?} {broken:?}");
        let mut case = CaseBuilder::new("gradient_norm", label, seed);
        let gradients = case.input("gradients", &[64 * 5], Fill::Normal(1.0));
        if let Some(value) = broken {
            let mut values = case.values(gradients).to_vec();
            values[7] = value;
            case.set(gradients, values);
        }
        let loss = case.constant("loss", &[1], DType::F32, vec![loss]);
        let policy = case.constant("policy", &[2], DType::F32, policy.to_vec());
        let verdict = case.observation("verdict", &[4], 0.0);
        let scaling = case.observation("scaling", &[4], 0.0);
        case.set(scaling, vec![scale, good, 0.0, 0.0]);
        case.tape.gradient_norm(gradients, loss, policy, verdict, Some((scaling, 5)));
        // As above, with fewer terms. A good step too many or too few would be 6e-8 of the largest scale, so cases
        // with small scales test for it.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    cases
}
