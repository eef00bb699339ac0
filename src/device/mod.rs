//! What a run computes on: a GPU through wgpu, or the CPU itself. The seam is small: memory, replay, readback; code above it
//! does not know which it drives.

mod commands;
mod plan;
mod store;

pub(crate) use commands::Commands;
pub use commands::Ring;
pub use plan::Plan;
pub use store::Store;

use crate::fault::Result;
use crate::gpu::{AdapterKind, Description, Gpu, Listener};
use crate::host::Host;
use crate::ops::{Choices, Traits};

/// An open device.
pub enum Device {
    Gpu(Box<Gpu>),
    Host(Box<Host>, Description),
}

impl From<Gpu> for Device {
    fn from(gpu: Gpu) -> Self {
        Self::Gpu(Box::new(gpu))
    }
}

impl From<Host> for Device {
    fn from(host: Host) -> Self {
        let description = describe(&host);
        Self::Host(Box::new(host), description)
    }
}

/// The CPU as a row of the list of devices.
fn describe(host: &Host) -> Description {
    Description {
        index: 0,
        name: host.name().to_owned(),
        kind: AdapterKind::Cpu,
        api: "CPU".to_owned(),
        // Not the number of threads, which changes no bit: a run that another number resumes is the same run.
        driver: "no driver".to_owned(),
        lanes: None,
        reported_lanes: (0, 0),
        f16: false,
        cooperative: 0,
        timestamps: false,
        max_binding: host.traits().max_binding,
        max_buffer: u64::MAX,
        workgroup_memory: 0,
        max_invocations: 0,
    }
}

impl Device {
    /// What tapes and recipes may depend on.
    pub fn traits(&self) -> &Traits {
        match self {
            Self::Gpu(gpu) => gpu.traits(),
            Self::Host(host, _) => host.traits(),
        }
    }

    /// The device as plain data.
    pub fn description(&self) -> &Description {
        match self {
            Self::Gpu(gpu) => gpu.description(),
            Self::Host(_, description) => description,
        }
    }

    /// How many threads compute, if it is the CPU.
    pub fn threads(&self) -> Option<usize> {
        match self {
            Self::Gpu(_) => None,
            Self::Host(host, _) => Some(host.threads()),
        }
    }

    /// Which of the device's features are not used, and why: one sentence each.
    pub fn remarks(&self) -> &[String] {
        match self {
            Self::Gpu(gpu) => gpu.remarks(),
            Self::Host(..) => &[],
        }
    }

    /// The GPU, for what only one has: kernels with variants, timestamps, submissions.
    pub fn gpu(&self) -> Option<&Gpu> {
        match self {
            Self::Gpu(gpu) => Some(gpu),
            Self::Host(..) => None,
        }
    }

    /// The same, to be changed.
    pub fn gpu_mut(&mut self) -> Option<&mut Gpu> {
        match self {
            Self::Gpu(gpu) => Some(gpu),
            Self::Host(..) => None,
        }
    }

    /// Sets the variants of kernels that plans built from now on use. The CPU has none.
    pub fn set_choices(&mut self, choices: Choices) {
        if let Self::Gpu(gpu) = self {
            gpu.set_choices(choices);
        }
    }

    /// Makes plans built from now on choose kernels as for another GPU; see [`Gpu::pretend`]. For tests.
    ///
    /// # Panics
    /// If it is the CPU.
    pub fn pretend(&mut self, change: impl FnOnce(&mut Traits)) {
        self.gpu_mut().expect("a GPU").pretend(change);
    }

    /// Calls `listener` during slow stages from now on. Opening a run on the CPU has none.
    pub fn listen(&self, listener: Option<Listener>) {
        if let Self::Gpu(gpu) = self {
            gpu.listen(listener);
        }
    }

    /// Keeps compiled kernels for later runs.
    pub(crate) fn keep_pipelines(&self) {
        if let Self::Gpu(gpu) = self {
            gpu.keep_pipelines();
        }
    }

    /// Waits until what was written so far has arrived and its staging memory is free.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn flush(&self) -> Result<()> {
        self.gpu().map_or(Ok(()), Gpu::flush)
    }

    /// The first failure of the device, if any.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn check(&self) -> Result<()> {
        self.gpu().map_or(Ok(()), Gpu::check)
    }
}

/// For a store, plan or ring that is used with another kind of device than it was made for.
fn mixed_up() -> ! {
    panic!("memory of one device is used with another")
}
