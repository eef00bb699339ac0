//! The state of a norm that is on its way out: the gate g, which follows a schedule, and c, which takes the place of the rows' own
//! r = 1/√(mean x² + ε) as the gate closes. The norm itself is [`super::rms_norm`] or [`super::layer_norm`] with such a state.
//!
//! Shapes: schedule `[2·n]` = (g, ρ) of n sites, set by the host before each step; state `[2]` = (g, c); r `[rows]`. Two ops, each
//! with the place of its site's pair: state₀ ← g, and a running mean in state₁ with the share ρ of the step. It is the mean of r
//! (TaperNorm, arXiv 2602.10408): c ← c + ρ·(mean r − c); or c is one over the mean of the deviations 1/r (the fake LayerNorm of
//! arXiv 2507.02559): 1/c ← 1/c + ρ·(mean 1/r − 1/c). Both change the state in place; neither has a gradient.
//!
//! The state is a parameter without a gradient: so checkpoints hold it and resuming is exact.

use super::team::Team;
use super::unroll::unroll;
use super::{Kernel, Op, Operand, Recipe, Shapes, Traits};
use crate::ops::case::{Case, CaseBuilder, Fill};
use crate::tape::{DType, Io, Tape, TensorId};

/// What c is a running mean of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Running {
    /// The rows' r.
    Scale,
    /// The rows' deviations 1/r; c is one over it.
    Deviation,
}

/// state₀ ← g. Input: schedule. Output: state.
#[derive(Debug)]
struct TaperGate {
    /// The place of the site's pair in the schedule.
    site: usize,
}

/// state₁ moves towards that of the rows. Inputs: r, schedule. Output: state.
#[derive(Debug)]
struct TaperScale {
    site: usize,
    running: Running,
}

impl Tape {
    /// Records that the gate of `state` `[2]` becomes that of pair `site` of `schedule` `[2·n]`.
    pub fn taper_gate(&mut self, schedule: TensorId, site: usize, state: TensorId) {
        self.check_taper(schedule, site, state);
        self.record(TaperGate { site }, &[schedule], &[state]);
    }

    /// Records that c of `state` follows `scales` `[rows]` by the share in pair `site` of `schedule` `[2·n]`.
    pub fn taper_scale(
        &mut self,
        scales: TensorId,
        (schedule, site): (TensorId, usize),
        running: Running,
        state: TensorId,
    ) {
        self.check_taper(schedule, site, state);
        self.record(TaperScale { site, running }, &[scales, schedule], &[state]);
    }

    fn check_taper(&self, schedule: TensorId, site: usize, state: TensorId) {
        assert_eq!(self.shape(state).dims(), [2], "taper: {}", self.info(state).name);
        assert!(2 * site + 1 < self.shape(schedule).elements(), "taper: no pair {site}");
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
        outputs[0][0] = inputs[0][2 * self.site];
    }

    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        outputs[0][0] = inputs[0][2 * self.site];
    }

    fn recipe(&self, _shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let kernel = Kernel::new(text(device).0, "taper_gate", &[("PAIR", (2 * self.site) as f64)]);
        Recipe::one(kernel, &[("schedule", Operand::Input(0)), ("state", Operand::Output(0))], [1, 1, 1])
    }

    fn accumulates(&self, _output: usize) -> bool {
        true
    }
}

impl TaperScale {
    /// c after a step whose rows have these r, from c before it.
    fn after(&self, rows: impl ExactSizeIterator<Item = f64>, share: f64, before: f64) -> f64 {
        let count = rows.len() as f64;
        match self.running {
            Running::Scale => before + share * (rows.sum::<f64>() / count - before),
            Running::Deviation => {
                let mean = rows.map(f64::recip).sum::<f64>() / count;
                (before.recip() + share * (mean - before.recip())).recip()
            }
        }
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
        let after = self.after(inputs[0].iter().copied(), inputs[1][2 * self.site + 1], outputs[0][1]);
        outputs[0][1] = after;
    }

    /// One number a row: one thread adds them up, in f64.
    fn host(&self, io: &mut Io<'_, f32>) {
        let (inputs, outputs) = io.split();
        let share = f64::from(inputs[1][2 * self.site + 1]);
        let rows = inputs[0].iter().map(|&r| f64::from(r));
        outputs[0][1] = self.after(rows, share, f64::from(outputs[0][1])) as f32;
    }

    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe {
        let (text, team) = text(device);
        let rows = shapes.input_elements(0);
        let deviations = self.running == Running::Deviation;
        let constants = [
            ("ROWS", rows as f64),
            ("LANES", team.lanes as f64),
            ("TEAM", team.size as f64),
            ("PAIR", (2 * self.site) as f64),
            ("DEVIATIONS", f64::from(u8::from(deviations))),
        ];
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

/// Rows around a team's lanes; the first site of a schedule, and a later one.
pub fn cases(seed: u64) -> Vec<Case> {
    let mut cases = Vec::new();
    let kinds = [(0, Running::Scale), (0, Running::Deviation), (2, Running::Deviation)];
    for (rows, (site, running)) in
        [1, 7, 64, 1000].into_iter().flat_map(|rows| kinds.map(|kind| (rows, kind)))
    {
        let label = format!("{rows} rows, site {site}, {running:?}");
        let mut case = CaseBuilder::new("taper", label, seed);
        let scales = (0..rows).map(|_| case.draw(Fill::Around(1.0, 0.1)).abs().max(0.1)).collect();
        let scales = case.constant("scales", &[rows], DType::F32, scales);
        let mut pairs = vec![0.9; 2 * site];
        pairs.extend([0.75, 0.3]);
        let schedule = case.constant("schedule", &[2 * (site + 1)], DType::F32, pairs);
        let state = case.observation("state", &[2], 0.5);
        case.tape.taper_gate(schedule, site, state);
        case.tape.taper_scale(scales, (schedule, site), running, state);
        // A sum of up to 1,000 numbers of one sign, each lane's share in turn.
        cases.push(case.finish(&[], &[], 2e-6));
    }
    cases
}
