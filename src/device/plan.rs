//! A tape made ready for a device.

use super::{Device, Store, mixed_up};
use crate::fault::Result;
use crate::plan::CommandTime;
use crate::tape::{Tape, TensorId};
use crate::{host, plan};

/// A tape that a device can replay.
pub enum Plan {
    Gpu(plan::Plan),
    Host(host::Plan),
}

impl Plan {
    /// Allocates, compiles and binds everything a tape needs. Parameters, gradients, inputs and observations are looked up
    /// in `store` by their tensors' names.
    ///
    /// # Errors
    /// Those of [`plan::Plan::build`].
    pub fn build(device: &Device, tape: &Tape, store: &Store) -> Result<Self> {
        Self::build_all(device, [tape], store).map(|[plan]| plan)
    }

    /// The same for several tapes on one pool: they never run at the same time, and leave each other no intermediates.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn build_all<const N: usize>(device: &Device, tapes: [&Tape; N], store: &Store) -> Result<[Self; N]> {
        match (device, store) {
            (Device::Gpu(gpu), Store::Gpu(store)) => {
                Ok(plan::Plan::build_all(gpu, tapes, store)?.map(Self::Gpu))
            }
            (Device::Host(host, _), Store::Host(store)) => {
                Ok(host::Plan::build_all(host, tapes, store).map(Self::Host))
            }
            _ => mixed_up(),
        }
    }

    /// Has the driver bring every kernel of these plans to where it runs; see [`plan::Plan::load_kernels`].
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn load_kernels(device: &Device, plans: &[&Self]) -> Result<()> {
        let Device::Gpu(gpu) = device else { return Ok(()) };
        plan::Plan::load_kernels(gpu, &plans.iter().filter_map(|plan| plan.on_gpu()).collect::<Vec<_>>())
    }

    /// The plan of a GPU.
    pub fn on_gpu(&self) -> Option<&plan::Plan> {
        match self {
            Self::Gpu(plan) => Some(plan),
            Self::Host(_) => None,
        }
    }

    /// Bytes of the plan's pool, which is shared with the plans it was built with.
    pub fn pool_bytes(&self) -> u64 {
        match self {
            Self::Gpu(plan) => plan.pool_bytes(),
            Self::Host(plan) => plan.pool_bytes(),
        }
    }

    /// Makes the image copies of fixed parameters, as they are now; see [`plan::Plan::fix`].
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn fix(&self, device: &Device) -> Result<()> {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) => plan.fix(gpu),
            _ => Ok(()),
        }
    }

    /// Runs every node once and waits. For setup, checks and tests.
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn run(&self, device: &Device) -> Result<()> {
        self.submit(device)?;
        device.gpu().map_or(Ok(()), crate::gpu::Gpu::wait)
    }

    /// Lets the device begin to run every node once, and returns.
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn submit(&self, device: &Device) -> Result<()> {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) => plan.submit(gpu),
            (Self::Host(plan), Device::Host(host, _)) => {
                plan.replay(host, true);
                Ok(())
            }
            _ => mixed_up(),
        }
    }

    /// Runs one node alone and waits.
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn run_node(&self, device: &Device, node: usize) -> Result<()> {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) => plan.run_node(gpu, node),
            (Self::Host(plan), Device::Host(host, _)) => {
                plan.run_node(host, node);
                Ok(())
            }
            _ => mixed_up(),
        }
    }

    /// Fills every pooled buffer with a word; see [`plan::Plan::poison`].
    pub fn poison(&self, device: &Device, word: u32) {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) => plan.poison(gpu, word),
            (Self::Host(plan), _) => plan.poison(word),
            _ => mixed_up(),
        }
    }

    /// Reads a tensor as it is in memory now; see [`plan::Plan::read`].
    ///
    /// # Errors
    /// Those of [`Gpu::check`](crate::gpu::Gpu::check).
    pub fn read(&self, device: &Device, tape: &Tape, store: &Store, tensor: TensorId) -> Result<Vec<f32>> {
        match (self, device, store) {
            (Self::Gpu(plan), Device::Gpu(gpu), Store::Gpu(store)) => plan.read(gpu, tape, store, tensor),
            (Self::Host(plan), _, Store::Host(store)) => Ok(plan.read(tape, store, tensor)),
            _ => mixed_up(),
        }
    }

    /// Replays once without the observers and returns the time of every command, in order; the CPU's commands are its nodes.
    ///
    /// # Errors
    /// As [`plan::Plan::profile`].
    pub fn profile(&self, device: &Device) -> Result<Vec<CommandTime>> {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) => plan.profile(gpu),
            (Self::Host(plan), Device::Host(host, _)) => Ok(plan.profile(host)),
            _ => mixed_up(),
        }
    }

    /// The time of every command of the observers; `None` on an adapter without a clock.
    ///
    /// # Errors
    /// As [`plan::Plan::profile`].
    pub fn profile_observing(&self, device: &Device) -> Result<Option<Vec<CommandTime>>> {
        match (self, device) {
            (Self::Gpu(plan), Device::Gpu(gpu)) if gpu.has_clock() => plan.profile_observing(gpu).map(Some),
            (Self::Host(plan), Device::Host(host, _)) => Ok(Some(plan.profile_observing(host))),
            _ => Ok(None),
        }
    }
}
