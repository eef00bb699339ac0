//! The first steps of a run on a second device, and how far it agrees with the first.

use super::{Global, counted, say, say_json};
use crate::config::Config;
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::host;
use crate::train::agreement::{Agreement, first_steps};
use crate::train::kernel_choice;
use crate::train::run_folder::RunFolder;
use serde_json::json;
use std::path::Path;

/// How many steps are repeated, if nothing else is said.
pub(super) const STEPS: u64 = 20;

/// Two devices that computed the same steps.
pub(super) struct Compared {
    devices: [String; 2],
    agreement: Agreement,
}

impl Compared {
    /// Repeats the first `steps` steps of a run on `first` and on a second device: that of `against`, else the CPU, or beside
    /// the CPU the best adapter, a software driver included.
    ///
    /// # Errors
    /// Those of opening the run and the second device; [`Kind::Usage`] if that is the first.
    pub fn of(
        run: &Path,
        (steps, against): (u64, Option<&str>),
        first: Device,
        global: &Global,
    ) -> Result<Self> {
        let folder = RunFolder::read(run)?;
        let config = Config::load_of_run(&folder.config(), &[])?;
        let second = against.unwrap_or(if first.gpu().is_some() { host::WORD } else { "adapter" });
        let second = Global { device: Some(second.to_owned()), backend: None, ..global.clone() };
        // The threads are those of the CPU, whichever of the two that is.
        let threads = if second.open_cpu()?.is_some() { global.threads } else { 0 };
        let second = Global { threads, quiet: true, ..second }.open()?;
        let names = [&first, &second].map(|device| device.description().name.clone());
        if names[0] == names[1] {
            return Err(Fault::new(Kind::Usage, "the second device is the first")
                .at("--against")
                .found(&names[0])
                .remedy("name another one of `normfree devices`"));
        }
        let mut numbers = Vec::new();
        for (mut device, name) in [first, second].into_iter().zip(&names) {
            let mut waiting = global.wait(&format!("running {} on {name}", counted(steps, "step")));
            device.listen(Some(waiting.text().of_device()));
            if let Some(gpu) = device.gpu_mut() {
                gpu.set_choices(kernel_choice::known(gpu));
            }
            numbers.push(first_steps(device, &folder, &config, steps)?);
            waiting.end();
        }
        Ok(Self { devices: names, agreement: Agreement::of(&numbers[0], &numbers[1]) })
    }

    /// What was found, in a sentence.
    pub fn sentence(&self) -> String {
        let Agreement { steps, loss, entropy } = self.agreement;
        let of_heads = entropy.map_or(String::new(), |entropy| format!(", head entropies by {entropy:.1e}"));
        format!(
            "{} on {} and on {}: losses differ by at most {loss:.1e} of their value{of_heads}",
            counted(steps as u64, "step"),
            self.devices[0],
            self.devices[1]
        )
    }

    /// Prints it, and fails if the devices compute different things.
    pub fn tell(&self, json: bool) -> Result<()> {
        let Agreement { steps, loss, entropy } = self.agreement;
        // JSON has no infinity: one of two numbers was not finite.
        let finite = |number: f64| number.is_finite().then_some(number);
        match json {
            true => say_json(json!({
                "steps": steps,
                "devices": self.devices,
                "loss": finite(loss),
                "entropy": entropy.map(finite),
                "bound": Agreement::BOUND,
                "agrees": self.agreement.holds(),
            }))?,
            false => say(self.sentence())?,
        }
        if self.agreement.holds() {
            return Ok(());
        }
        Err(Fault::new(Kind::Verify, "the devices do not train alike")
            .at(format!("{} and {}", self.devices[0], self.devices[1]))
            .found(self.sentence())
            .remedy(format!(
                "numbers of two correct devices differ by less than {:.0e} here; run `normfree verify` on each",
                Agreement::BOUND
            )))
    }
}
