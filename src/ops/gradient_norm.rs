//! The global gradient norm with its clip factor, and the gate before the update.
//!
//! norm = √Σ g², clip = min(1, max_norm / (norm + 1e-6)) (PyTorch's `clip_grad_norm_`; 1 where max_norm is 0).
//! The gate closes at the first step whose loss or norm is not finite and stays closed until the host answers:
//! the parameters keep their last good values though later steps are already under way. A policy of `record`
//! keeps it open.
//!
//! Shapes: gradients [P], loss [1], policy [2] = (max_norm, record) → verdict [4] = (norm, clip, open, halted).

use super::team::Team;
use super::unroll::unroll;
use super::{Dispatch, Kernel, Op, Operand, Recipe, Shapes, Traits, WINDOW_ELEMENTS, grid};
use crate::reference::Io;
use crate::tape::{DType, Tape, TensorId};
use crate::verify::{Case, CaseBuilder, Fill};

/// The op; see the module's documentation.
#[derive(Debug)]
struct GradientNorm;

impl Tape {
    /// Records the norm of `gradients` and the verdict on this step.
    pub fn gradient_norm(
        &mut self,
        gradients: TensorId,
        loss: TensorId,
        policy: TensorId,
        verdict: TensorId,
    ) {
        self.record(GradientNorm, &[gradients, loss, policy], &[verdict]);
    }
}

/// Vectors one team sums: enough that its start costs little, few enough that sums stay short.
const EACH: usize = 4096;

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
        let (norm, max_norm, record) = (total.sqrt(), inputs[2][0], inputs[2][1] != 0.0);
        let factor = max_norm / (norm + 1e-6);
        // NaN stays NaN, as in PyTorch; `min` would drop it.
        let clip = if max_norm <= 0.0 || factor > 1.0 { 1.0 } else { factor };
        let sound = total.is_finite() && inputs[1][0].is_finite();
        let halted = !record && (!sound || outputs[0][3] != 0.0);
        outputs[0].copy_from_slice(&[norm, clip, f64::from(u8::from(!halted)), f64::from(u8::from(halted))]);
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let team = Team::of(device);
        let kernel = |entry, constants: &[(&'static str, f64)]| {
            let finite = include_str!("../../shaders/shared/finite.wgsl");
            let template = include_str!("../../shaders/gradient_norm.wgsl");
            let text = unroll(template, &[], &[("images", device.software)], &[]);
            let constants = [&[("TEAM", team.size as f64), ("LANES", team.lanes as f64)], constants].concat();
            Kernel::new(&[team.fragment, finite], &text, entry, &constants)
        };
        let elements = shapes.input_elements(0);
        let mut dispatches = Vec::new();
        let mut partials = 0;
        for (offset, length) in windows(elements, device) {
            let vectors = length.div_ceil(4);
            let groups = vectors.div_ceil(EACH);
            let constants =
                [("VECTORS", vectors as f64), ("EACH", EACH as f64), ("PARTIAL", partials as f64)];
            let window = match device.software {
                true => Operand::InputWindowImage { input: 0, offset, length },
                false => Operand::InputWindow { input: 0, offset, length },
            };
            dispatches.push(Dispatch {
                kernel: kernel("squares", &constants),
                bindings: vec![("gradients", window), ("partials", Operand::Scratch(0))],
                groups: grid(team.workgroups(groups)),
            });
            partials += groups;
        }
        dispatches.push(Dispatch {
            kernel: kernel("close", &[("PARTIALS", partials as f64)]),
            bindings: vec![
                ("partial_sums", Operand::Scratch(0)),
                ("loss", Operand::Input(1)),
                ("policy", Operand::Input(2)),
                ("verdict", Operand::Output(0)),
            ],
            groups: [1, 1, 1],
        });
        Recipe { dispatches, scratch: vec![partials], iterations: partials.div_ceil(team.size).max(EACH) }
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        2 * shapes.input_elements(0) as u64
    }
}

/// Stretches (offset, length) of an arena that fit one binding each, or, on software drivers, one image each: those
/// read images many times faster than buffers.
pub(super) fn windows(elements: usize, device: &Traits) -> impl Iterator<Item = (usize, usize)> + use<> {
    let binding = (device.max_binding / 256 * 64) as usize;
    let most = if device.software { binding.min(WINDOW_ELEMENTS) } else { binding };
    assert!(
        elements.is_multiple_of(64),
        "an arena of {elements} elements: every tensor in it is padded to 64"
    );
    (0..elements).step_by(most).map(move |offset| (offset, most.min(elements - offset)))
}

/// Sizes around a workgroup's stretch; sound, clipped, and broken gradients; each policy.
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
        case.tape.gradient_norm(gradients, loss, policy, verdict);
        // Sums of n/lanes positive terms in order: relative error below n/lanes · 6e-8, here 44,800 / 8 at most;
        // measured errors stay far below because roundings cancel.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    cases
}
