//! The options of every subcommand and what follows from them: the device to open, and notes.

use super::terminal;
use super::waiting::Waiting;
use crate::cache::attempts::Tried;
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::{Backend, Gpu, OpenOptions, this_program};
use crate::host::{self, Host};
use crate::shell;
use crate::visible;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use std::fmt::Display;
use std::path::Path;

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Global {
    /// Device to use: `cpu`, or an adapter's index or a part of its name, as listed by `normfree devices` [default: the
    /// best adapter]
    #[arg(
        long,
        global = true,
        env = "NORMFREE_DEVICE",
        hide_env_values = true,
        value_name = "cpu|INDEX|NAME",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub device: Option<String>,
    /// Search for adapters through this API only [default: WGPU_BACKEND, else all APIs of the system]
    #[arg(long, global = true, value_enum)]
    pub backend: Option<Backend>,
    /// Do not use matrix units, nor ask a driver to open them; NORMFREE_NO_MATRIX_UNITS=1 does the same
    #[arg(long, global = true)]
    pub no_matrix_units: bool,
    /// Threads that compute with `--device cpu` [default: as many as the process may use]; results do not depend on it
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Print no progress and no notes, only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// The note for when only a software adapter is available.
pub(super) const SOFTWARE_NOTE: &str = "there is no GPU with a driver; computing on the CPU through a software adapter, though --device cpu needs none";

impl Global {
    /// The options for opening a device.
    pub fn open_options(&self) -> OpenOptions {
        let Self { device, backend, no_matrix_units, .. } = self.clone();
        OpenOptions { device, backend, no_matrix_units, prober: this_program(), ..OpenOptions::default() }
    }

    /// Opens the device that a command computes on. Prints a note if it is a software device that nobody asked for.
    pub fn open(&self) -> Result<Device> {
        if !self.wants_cpu() {
            return self.open_gpu().map(Device::from);
        }
        if self.backend.is_some() {
            return Err(Fault::new(Kind::Usage, "the CPU is not an adapter of any API")
                .at("--backend")
                .remedy("omit it, or choose an adapter with --device"));
        }
        Ok(Host::open(self.threads)?.into())
    }

    /// Whether the CPU itself is to compute.
    pub fn wants_cpu(&self) -> bool {
        self.device.as_deref() == Some(host::WORD)
    }

    /// Refuses the CPU where only an adapter will do.
    pub fn refuse_cpu(&self) -> Result<()> {
        match self.wants_cpu() {
            false => Ok(()),
            true => Err(Fault::new(Kind::Usage, "this command measures the kernels of an adapter")
                .at(format!("--device {}", host::WORD))
                .remedy("choose an adapter, as listed by `normfree devices`")),
        }
    }

    /// The adapter to use, if one is named.
    pub fn adapter(&self) -> Option<String> {
        self.device.clone().filter(|name| name != host::WORD)
    }

    /// Opens a GPU, or a driver that computes in place of one, for what only kernels of shaders have.
    pub fn open_gpu(&self) -> Result<Gpu> {
        self.refuse_cpu()?;
        if self.threads > 0 {
            return Err(Fault::new(Kind::Usage, "an adapter has its own threads")
                .at("--threads")
                .remedy(format!("omit it, or use --device {}", host::WORD)));
        }
        let gpu = Gpu::open(&self.open_options())?;
        let description = gpu.description();
        for remark in gpu.remarks() {
            self.note(format!("{}: {remark}", description.name));
        }
        if description.software() && self.device.is_none() {
            self.note(format!("{}: {}", SOFTWARE_NOTE, description.name));
        }
        Ok(gpu)
    }

    /// Opens the device like [`Self::open`], and reports slow work on it until the returned waiting line is dropped.
    pub fn open_for(&self, what: &str) -> Result<(Device, Waiting)> {
        let device = self.open()?;
        let waiting = Waiting::begin(what, self.quiet);
        device.listen(Some(waiting.text().of_device()));
        Ok((device, waiting))
    }

    /// The options that select the device, for another process.
    pub fn options(&self) -> Vec<String> {
        let mut options = Vec::new();
        let mut add = |option: &str, value: &str| options.extend([format!("--{option}"), value.to_owned()]);
        if let Some(name) = &self.device {
            add("device", name);
        }
        if let Some(backend) = self.backend.and_then(|backend| backend.to_possible_value()) {
            add("backend", backend.get_name());
        }
        if self.threads > 0 {
            options.extend(["--threads".to_owned(), self.threads.to_string()]);
        }
        if self.no_matrix_units {
            options.push("--no-matrix-units".to_owned());
        }
        options
    }

    /// The options as typed on another command line.
    pub fn typed(&self) -> String {
        let mut options = self.options();
        if self.quiet {
            options.push("--quiet".to_owned());
        }
        options.iter().map(|option| format!(" {}", shell::quoted(option.as_ref()))).collect()
    }

    /// Reports skipped kernel variants, and what to delete to have them tried again.
    pub fn note_skipped(&self, skipped: &[Tried], again: Option<&Path>) {
        let again = again.map(|file| format!("; delete {} to try it again", file.display()));
        for Tried { what, how } in skipped {
            self.note(format!(
                "`{what}` is not computed with {how}: an earlier start ended while this driver tried that{}",
                again.as_deref().unwrap_or_default()
            ));
        }
    }

    /// Prints one line on standard error, unless quiet.
    pub fn note(&self, text: impl Display) {
        if !self.quiet {
            terminal::say(&format!("note: {}", visible::line(&text.to_string())));
        }
    }
}
