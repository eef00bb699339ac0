//! An evaluation that leaves out small units of the feed-forward networks.

use super::blueprint::evaluation_pass;
use super::{Attached, Engine};
use crate::data::Batch;
use crate::device::Plan;
use crate::fault::Result;
use crate::model::{Pass, record};

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

    /// Starts the evaluation of one batch by an attached evaluation and returns at once.
    ///
    /// # Errors
    /// Those of [`Device::check`](crate::device::Device::check).
    pub fn begin_evaluation_by(&self, attached: &Attached, batch: &Batch) -> Result<()> {
        self.begin_evaluation_of(&attached.plan, batch)
    }

    /// Writes numbers to the memory of that name.
    pub fn write(&self, name: &str, values: &[f32]) {
        self.store.write(&self.device, name, values);
    }

    /// Reads the first `elements` of the memory of that name. Waits.
    ///
    /// # Errors
    /// Those of [`Device::check`](crate::device::Device::check).
    pub fn read(&self, name: &str, elements: usize) -> Result<Vec<f32>> {
        self.store.read(&self.device, name, elements)
    }
}
