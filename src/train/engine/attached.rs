//! Passes beside those of training: other tapes over the same parameters, with memory of their own.

use super::Engine;
use super::blueprint::{evaluation_pass, small};
use crate::data::Batch;
use crate::device::{Device, Plan, Store};
use crate::fault::Result;
use crate::model::{Pass, record};
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

impl Engine {
    /// Attaches an evaluation that leaves out small units of the feed-forward networks. What decides which are small are the
    /// inputs [`unit_lengths`](crate::model::names::unit_lengths) and [`unit_bound`](crate::model::names::unit_bound) of each
    /// layer, which have to be written before it runs.
    ///
    /// # Errors
    /// Those of [`Plan::build`].
    pub fn attach_truncated(&mut self) -> Result<Attached> {
        let config = &self.blueprint.config;
        let pass = Pass { truncated: true, ..evaluation_pass(config, self.device.traits()) };
        let tape = record(&config.model, &pass).tape;
        let attached = Attached::new(&self.device, &mut self.store, &tape)?;
        Plan::load_kernels(&self.device, &[&attached.plan])?;
        Ok(attached)
    }

    /// The summed loss over the targets of one batch, by an attached evaluation. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn evaluate_by(&self, attached: &Attached, batch: &Batch) -> Result<f64> {
        self.begin_evaluation_by(&attached.plan, batch)?;
        Ok(self.take_evaluation(true)?.expect("one is under way"))
    }

    /// Writes numbers to the memory of that name.
    pub fn write(&self, name: &str, values: &[f32]) {
        self.store.write(&self.device, name, values);
    }

    /// Reads the first `elements` of the memory of that name. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`].
    pub fn read(&self, name: &str, elements: usize) -> Result<Vec<f32>> {
        self.store.read(&self.device, name, elements)
    }
}
