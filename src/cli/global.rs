//! The options of every subcommand and what follows from them: the device to open, and notes.

use super::waiting::Waiting;
use super::{counted, terminal};
use crate::cache::attempts::Tried;
use crate::device::Device;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::{Backend, Gpu, OpenOptions, hardware, this_program};
use crate::host::{self, Host, Share};
use crate::shell;
use crate::visible;
use clap::ValueEnum;
use clap::builder::NonEmptyStringValueParser;
use std::fmt::Display;
use std::path::Path;

/// What every subcommand takes.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Global {
    /// Device to use: `cpu`; `adapter`, the best one; or an adapter's index or a part of its name, as listed by `normfree
    /// devices` [default: NORMFREE_DEVICE, else the best GPU, else the CPU]
    #[arg(
        long,
        global = true,
        value_name = "cpu|adapter|INDEX|NAME",
        value_parser = NonEmptyStringValueParser::new()
    )]
    pub device: Option<String>,
    /// Search for adapters through this API only [default: WGPU_BACKEND, else all APIs of the system]
    #[arg(long, global = true, value_enum)]
    pub backend: Option<Backend>,
    /// Do not use matrix units, nor ask a driver to open them; NORMFREE_NO_MATRIX_UNITS=1 does the same
    #[arg(long, global = true)]
    pub no_matrix_units: bool,
    /// Threads that compute on the CPU [default: as many as the process may use at once; at most four times as many, or
    /// 16]; results do not depend on it
    #[arg(long, global = true, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub threads: usize,
    /// Print no progress and no notes, only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// What notes and waiting are about, where several runs train at once.
    #[arg(skip)]
    pub label: Option<String>,
    /// The threads of a job beside others, in place of `threads`.
    #[arg(skip)]
    pub share: Option<Share>,
}

/// The word that selects the best adapter, a software driver included.
const ADAPTER: &str = "adapter";

/// What is said where there is no GPU.
pub(super) const NO_GPU: &str = "there is no GPU with a driver";

/// Where a command looks for its device.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Selection {
    /// The CPU itself, by name.
    Cpu,
    /// Among the adapters, software drivers included: one is named, or a backend, which is a request for one of its adapters.
    Adapters,
    /// Nothing is named: the best GPU, else the CPU.
    Best,
}

/// The device if none is typed. It is read here, because a usage line names what `clap` takes from a variable.
const VARIABLE: &str = "NORMFREE_DEVICE";

impl Global {
    /// Fills in what the environment says, and checks what holds for every command.
    ///
    /// # Errors
    /// [`Kind::Usage`].
    pub fn complete(mut self) -> Result<Self> {
        if self.device.is_none()
            && let Some(name) = std::env::var_os(VARIABLE).filter(|name| !name.is_empty())
        {
            let refused = |name: std::ffi::OsString| {
                Fault::new(Kind::Usage, "the name of a device is UTF-8").at(VARIABLE).found(name.display())
            };
            self.device = Some(name.into_string().map_err(refused)?);
        }
        let usable = std::thread::available_parallelism().map_or(1, usize::from);
        let most = (4 * usable).max(16);
        if self.threads > most {
            return Err(Fault::new(Kind::Usage, "so many threads only wait for each other")
                .at(format!("--threads {}", self.threads))
                .found(format!("{} that this process may use at once", counted(usable as u64, "thread")))
                .remedy(format!("use at most --threads {most}, or omit it")));
        }
        Ok(self)
    }

    /// The options for opening an adapter.
    pub fn open_options(&self) -> OpenOptions {
        let Self { backend, no_matrix_units, .. } = *self;
        let device = self.device.clone().filter(|name| ![host::WORD, ADAPTER].contains(&name.as_str()));
        OpenOptions { device, backend, no_matrix_units, prober: this_program(), ..OpenOptions::default() }
    }

    /// The same options with the best adapter in place of the best device, for commands about adapters.
    pub fn of_adapters(&self) -> Self {
        let device = self.device.clone().or_else(|| Some(ADAPTER.to_owned()));
        Self { device, ..self.clone() }
    }

    /// Where a command looks for its device.
    pub fn selection(&self) -> Selection {
        match &self.device {
            Some(name) if name == host::WORD => Selection::Cpu,
            None if self.backend.is_none() => Selection::Best,
            _ => Selection::Adapters,
        }
    }

    /// Opens the device that a command computes on. Prints a note if the CPU computes and nothing is named.
    pub fn open(&self) -> Result<Device> {
        match self.open_cpu()? {
            Some(host) => Ok(host.into()),
            None => self.open_gpu().map(Device::from),
        }
    }

    /// The same if that is the CPU; `None` if it is an adapter, which stays closed.
    pub fn open_cpu(&self) -> Result<Option<Host>> {
        let selection = self.selection();
        if selection == Selection::Cpu && self.backend.is_some() {
            return Err(Fault::new(Kind::Usage, "the CPU is not an adapter of any API")
                .at("--backend")
                .remedy("omit it, or choose an adapter with --device"));
        }
        if selection == Selection::Adapters || selection == Selection::Best && hardware(&self.open_options())?
        {
            return Ok(None);
        }
        let host = self.share.as_ref().map_or_else(|| Host::open(self.threads), Host::sharing)?;
        if selection == Selection::Best {
            self.note(format!("{NO_GPU}; computing on the CPU: {}", host.name()));
        }
        Ok(Some(host))
    }

    /// Refuses the CPU where only an adapter will do.
    pub fn refuse_cpu(&self) -> Result<()> {
        match self.selection() {
            Selection::Cpu => Err(Fault::new(Kind::Usage, "this command measures the kernels of an adapter")
                .at(format!("--device {}", host::WORD))
                .remedy("choose an adapter, as listed by `normfree devices`")),
            Selection::Adapters | Selection::Best => Ok(()),
        }
    }

    /// Opens an adapter, a software driver if there is no other, for what only kernels of shaders have. Prints a note if it
    /// is a software driver that is not named.
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
            self.note(format!("{NO_GPU}; computing on the CPU through {}", description.name));
        }
        Ok(gpu)
    }

    /// Opens the device like [`Self::open`], and reports slow work on it until the returned waiting line is dropped.
    pub fn open_for(&self, what: &str) -> Result<(Device, Waiting)> {
        let device = self.open()?;
        let waiting = self.wait(what);
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
            terminal::say(&format!("note: {}", visible::line(&self.labelled(text))));
        }
    }

    /// Shows what is being waited for until the returned line is dropped, unless quiet.
    pub fn wait(&self, what: &str) -> Waiting {
        Waiting::begin(&self.labelled(what), self.quiet)
    }

    fn labelled(&self, text: impl Display) -> String {
        self.label.as_ref().map_or_else(|| text.to_string(), |label| format!("{label}: {text}"))
    }
}
