//! The contents of an optimizer's row, and the inputs of an update.

use crate::model::Parameter;
use crate::ops::muon::Scale as MuonScale;
use crate::tape::{Decays, Tape, TensorId};

/// Everything that the program knows about an optimizer.
pub struct Rule {
    /// Its name in `train.optimizer`.
    pub word: &'static str,
    /// Its description, in one line of Markdown.
    pub about: &'static str,
    /// What it keeps for each parameter beside its value, in the order of the checkpoint's file.
    pub states: &'static [State],
    /// The numbers of one step, from a learning rate and the count of updates made before.
    pub hyper: fn(&Settings, f64, u64) -> [f32; HYPER],
    /// Records one update.
    pub record: fn(&mut Tape, &Update<'_>),
}

/// How many numbers the host gives the device for each step.
pub const HYPER: usize = 8;

/// One number that an optimizer keeps for each parameter element from step to step. It starts at zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct State {
    /// The arena that holds it.
    pub arena: &'static str,
    /// The prefix of the state's name: `m NAME` on the device, `m.NAME` in a checkpoint.
    pub prefix: &'static str,
}

/// The constants of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Settings {
    pub beta1: f64,
    pub beta2: f64,
    pub epsilon: f64,
    pub weight_decay: f64,
    /// Of Muon and SGD.
    pub momentum: f64,
    /// The factor of Muon's orthogonal update.
    pub muon_scale: MuonScale,
    /// Muon's rate over that of the other parameters.
    pub muon_ratio: f64,
}

/// The operands of an update. Arenas are f32 `[P]`, all in the same order.
#[derive(Clone, Copy)]
pub struct Update<'a> {
    pub gradients: TensorId,
    pub parameters: TensorId,
    /// The arenas of the rule's states, in their order.
    pub states: &'a [TensorId],
    /// In mixed precision, f16 copies of the first parameters: an update writes them along with the parameters.
    pub copies: Option<TensorId>,
    /// f32 [[`HYPER`]].
    pub hyper: TensorId,
    /// The result of `gradient_norm`: the clipping factor, and whether the gate is open.
    pub verdict: TensorId,
    pub settings: &'a Settings,
    /// Where each parameter that it moves lies in the arenas, in their order.
    pub places: &'a [Place<'a>],
}

/// A parameter in the arenas.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub parameter: &'a Parameter,
    /// Its first element.
    pub first: usize,
    /// Its elements including the padding after it; a multiple of 128.
    pub padded: usize,
}

impl Place<'_> {
    /// Whether it holds a matrix inside a block, and no table of single numbers, which do not decay.
    pub fn is_matrix(&self) -> bool {
        let declared = &self.parameter.declared;
        let of_block = declared.block.is_some() && declared.decays == Decays::Always;
        of_block && self.parameter.shape.len() == 2
    }
}

/// The stretch of an arena that places lying side by side fill: the arena itself, if they fill it.
pub(super) fn stretch(tape: &mut Tape, arena: TensorId, places: &[Place<'_>]) -> TensorId {
    let elements = places.iter().map(|place| place.padded).sum();
    if elements == tape.shape(arena).elements() {
        arena
    } else {
        tape.view(arena, places[0].first, &[elements])
    }
}
