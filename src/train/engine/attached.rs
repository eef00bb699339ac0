//! Passes beside those of training: other tapes over the same parameters, with memory of their own.

use super::blueprint::small;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::tape::{Role, Tape, TensorInfo};

/// A pass that can be run over a batch.
pub struct Attached {
    pub(super) plan: Plan,
    /// What it adds to or writes, besides the loss.
    pub(super) own: Vec<TensorInfo>,
}

impl Attached {
    /// Reserves what the tape's inputs and observations need and the store lacks, and makes the tape ready.
    ///
    /// # Errors
    /// Those of [`Plan::build`].
    pub(super) fn new(device: &Device, store: &mut Store, tape: &Tape) -> Result<Self> {
        let mut own = Vec::new();
        for role in [Role::Input, Role::Observation] {
            for info in small(tape, role) {
                if !store.contains(&info.name) {
                    store.allocate(device, &info.name, info.shape.elements(), info.dtype)?;
                    own.push(info.clone());
                }
            }
        }
        Ok(Self { plan: Plan::build(device, tape, store)?, own })
    }
}
