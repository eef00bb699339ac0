//! One device for several consecutive runs: kernels are compiled for the first run that needs them.

use super::Global;
use crate::device::Device;
use crate::fault::{Kind, Result};
use crate::train::trainer::Trainer;

/// A command's device while no run is using it.
pub(super) struct Held<'a> {
    global: &'a Global,
    device: Option<Device>,
    /// Whether it was opened before: one note about what was chosen is enough.
    known: bool,
}

impl<'a> Held<'a> {
    /// Does not open the device yet.
    pub fn new(global: &'a Global) -> Self {
        Self { global, device: None, known: false }
    }

    pub fn global(&self) -> &'a Global {
        self.global
    }

    /// The device, if it is open.
    pub fn device(&self) -> Option<&Device> {
        self.device.as_ref()
    }

    /// Hands out the device, opening it if necessary.
    pub fn take(&mut self) -> Result<Device> {
        let quiet = self.global.quiet || std::mem::replace(&mut self.known, true);
        self.device.take().map_or_else(|| Global { quiet, ..self.global.clone() }.open(), Ok)
    }

    /// Takes the device back from a finished run. A device that failed is reopened when next needed.
    pub fn give_back(&mut self, trainer: Trainer, trained: &Result<()>) {
        let broken = matches!(trained, Err(fault) if matches!(fault.kind, Kind::Device | Kind::Memory));
        self.device = (!broken).then(|| trainer.into_device());
    }
}
