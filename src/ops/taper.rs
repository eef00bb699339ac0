//! The state of a tapered RMSNorm (TaperNorm, arXiv 2602.10408): the gate g, which follows a schedule, and c, a running mean of
//! the rows' 1/√(mean x² + ε) while the gate is open. The norm itself is [`super::rms_norm`] with such a state.
//!
//! Shapes: schedule `[2]` = (g, ρ), set by the host before each step; state `[2]` = (g, c); r `[rows]`. Two ops: state₀ ← g, and
//! state₁ ← state₁ + ρ·(mean r − state₁). Both change the state in place; neither has a gradient.
//!
//! The state is a parameter without a gradient: so checkpoints hold it and resuming is exact.

use super::team::Team;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};

/// state₀ ← g. Input: schedule. Output: state.
#[derive(Debug)]
struct TaperGate;

/// state₁ moves towards mean r. Inputs: r, schedule. Output: state.
#[derive(Debug)]
struct TaperScale;

impl Tape {
    /// Records that the gate of `state` `[2]` becomes that of `schedule` `[2]`.
    pub fn taper_gate(&mut self, schedule: TensorId, state: TensorId) {
        assert_eq!(self.shape(state).dims(), [2], "taper: {}", self.info(state).name);
        self.record(TaperGate, &[schedule], &[state]);
    }

    /// Records that c of `state` moves towards the mean of `scales` `[rows]` by the share in `schedule`.
    pub fn taper_scale(&mut self, scales: TensorId, schedule: TensorId, state: TensorId) {
        assert_eq!(self.shape(state).dims(), [2], "taper: {}", self.info(state).name);
        self.record(TaperScale, &[scales, schedule], &[state]);
    }
}

/// The text of the shader, and the team that adds up rows.
fn text(device: &Traits) -> (std::sync::Arc<str>, Team) {
    let team = Team::single(device);
    let texts = [("team", team.kind.to_owned())];
    (unroll(include_str!("../../shaders/taper.wgsl"), &[], &[], &texts), team)
}

impl Op for TaperGate {
    fn stem(&self) -> &'static str {
        "taper"
    }

    fn name(&self) -> &'static str {
        "taper.gate"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        outputs[0][0] = inputs[0][0];
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        outputs[0][0] = inputs[0][0];
    }

    fn recipe(&self, _shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let kernel = Kernel::new(text(device).0, "taper_gate", &[]);
        Recipe::one(kernel, &[("schedule", Operand::Input(0)), ("state", Operand::Output(0))], [1, 1, 1])
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }
}

impl Op for TaperScale {
    fn stem(&self) -> &'static str {
        "taper"
    }

    fn name(&self) -> &'static str {
        "taper.scale"
    }

    fn reference(&self, io: &mut Io<'_>) {
        let (inputs, outputs) = io.split();
        let mean = inputs[0].iter().sum::<f64>() / inputs[0].len() as f64;
        outputs[0][1] += inputs[1][1] * (mean - outputs[0][1]);
    }

    /// One number a row: one thread adds them up, in f64.
    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let mean = inputs[0].iter().map(|&r| f64::from(r)).sum::<f64>() / inputs[0].len() as f64;
        let before = f64::from(outputs[0][1]);
        outputs[0][1] = (before + f64::from(inputs[1][1]) * (mean - before)) as f32;
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (text, team) = text(device);
        let rows = shapes.input_elements(0);
        let constants = [("ROWS", rows as f64), ("LANES", team.lanes as f64), ("TEAM", team.size as f64)];
        let bindings =
            [("scales", Operand::Input(0)), ("schedule", Operand::Input(1)), ("state", Operand::Output(0))];
        Recipe::one(Kernel::new(text, "taper_scale", &constants), &bindings, [1, 1, 1])
            .with_iterations(rows.div_ceil(team.size))
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }

    fn flops(&self, shapes: &Shapes<'_>) -> u64 {
        shapes.input_elements(0) as u64
    }
}

/// Rows around a team's lanes.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    for rows in [1, 7, 64, 1000] {
        let mut case = CaseBuilder::new("taper", format!("{rows} rows"), seed);
        let scales = (0..rows).map(|_| case.draw(Fill::Around(1.0, 0.2))).collect();
        let scales = case.constant("scales", &[rows], DType::F32, scales);
        let schedule = case.constant("schedule", &[2], DType::F32, vec![0.75, 0.3]);
        let state = case.observation("state", &[2], 0.5);
        case.tape.taper_gate(schedule, state);
        case.tape.taper_scale(scales, schedule, state);
        // A sum of up to 1,000 numbers of one sign, each lane's share in turn.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    cases
}
