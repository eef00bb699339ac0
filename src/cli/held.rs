//! One device for several runs, one after another: kernels are compiled for the first that needs them.

use super::Global;
use crate::fault::{Kind, Result};
use crate::gpu::Gpu;
use crate::train::trainer::Trainer;

/// The device that a command opened, while no run has it.
pub(super) struct Held<'a> {
    global: &'a Global,
    gpu: Option<Gpu>,
    /// It was open before: one note about a software adapter is enough.
    known: bool,
}

impl<'a> Held<'a> {
    /// Opens nothing yet.
    pub fn new(global: &'a Global) -> Self {
        Self { global, gpu: None, known: false }
    }

    pub fn global(&self) -> &'a Global {
        self.global
    }

    /// The device, if it is open.
    pub fn gpu(&self) -> Option<&Gpu> {
        self.gpu.as_ref()
    }

    /// Hands the device out; opens it where it is not.
    pub fn take(&mut self) -> Result<Gpu> {
        let quiet = self.global.quiet || std::mem::replace(&mut self.known, true);
        self.gpu.take().map_or_else(|| Global { quiet, ..self.global.clone() }.open(), Ok)
    }

    /// Takes it back from a run that ended. One that failed itself is opened anew when it is needed next.
    pub fn give_back(&mut self, trainer: Trainer, trained: &Result<()>) {
        let broken = matches!(trained, Err(fault) if matches!(fault.kind, Kind::Device | Kind::Memory));
        self.gpu = (!broken).then(|| trainer.into_gpu());
    }
}
