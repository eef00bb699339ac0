//! Which adapters exist, and which one a run uses.

use super::{OpenOptions, Prober};
use crate::fault::{Fault, Kind, Result};
use crate::ops::Vendor;
use std::sync::{Mutex, PoisonError};

/// One adapter of this machine.
pub struct Candidate {
    pub index: usize,
    pub adapter: wgpu::Adapter,
    pub info: wgpu::AdapterInfo,
}

impl Candidate {
    /// Whether the driver runs on the CPU.
    pub fn software(&self) -> bool {
        self.info.device_type == wgpu::DeviceType::Cpu
    }

    /// Identified by its PCI number. Metal reports none, but the names of Apple's devices say so.
    pub fn vendor(&self) -> Vendor {
        match self.info.vendor {
            0x1002 => Vendor::Amd,
            0x8086 => Vendor::Intel,
            0x106b => Vendor::Apple,
            0 if self.info.name.starts_with("Apple") => Vendor::Apple,
            _ => Vendor::Other,
        }
    }

    /// Name, kind and API, for display.
    pub fn title(&self) -> String {
        let kind = super::AdapterKind::from(self.info.device_type).title();
        format!("{} ({kind}, {})", self.info.name, self.info.backend)
    }

    /// Smaller is better: discrete first, then integrated, software last.
    fn rank(&self) -> u8 {
        match self.info.device_type {
            wgpu::DeviceType::DiscreteGpu => 0,
            wgpu::DeviceType::IntegratedGpu => 1,
            wgpu::DeviceType::VirtualGpu => 2,
            wgpu::DeviceType::Other => 3,
            wgpu::DeviceType::Cpu => 4,
        }
    }
}

/// A system API that gives access to adapters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Backend {
    Vulkan,
    Dx12,
    Metal,
}

impl Backend {
    const ALL: [Self; 3] = [Self::Vulkan, Self::Dx12, Self::Metal];

    fn flag(self) -> wgpu::Backends {
        match self {
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Dx12 => wgpu::Backends::DX12,
            Self::Metal => wgpu::Backends::METAL,
        }
    }

    /// The word that a user types.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Vulkan => "vulkan",
            Self::Dx12 => "dx12",
            Self::Metal => "metal",
        }
    }
}

/// wgpu's own variable, which names backends if no option does.
const VARIABLE: &str = "WGPU_BACKEND";

/// The backends whose adapters are listed, and what chose them; `None` for the default.
fn backends(wanted: Option<Backend>) -> Result<(wgpu::Backends, Option<String>)> {
    let variable = std::env::var_os(VARIABLE).map(|value| value.to_string_lossy().into_owned());
    let (chosen, by) = match (wanted, variable.filter(|value| !value.trim().is_empty())) {
        (Some(backend), _) => (backend.flag(), format!("--backend {}", backend.word())),
        (None, Some(value)) => (listed(&value)?, format!("{VARIABLE}={value}")),
        (None, None) => return Ok((wgpu::Backends::PRIMARY, None)),
    };
    let there = wgpu::Instance::enabled_backend_features();
    if !there.intersects(chosen) {
        let here: Vec<&str> = words(there);
        return Err(Fault::new(
            Kind::Device,
            format!("{} is not available on this system", words(chosen).join(", ")),
        )
        .at(by)
        .remedy(format!("omit it, or choose {}", here.join(" or "))));
    }
    Ok((chosen, Some(by)))
}

/// Parses a comma-separated list of backends.
fn listed(value: &str) -> Result<wgpu::Backends> {
    let unknown = value.split(',').find(|word| words(wgpu::Backends::from_comma_list(word)).is_empty());
    match unknown {
        None => Ok(wgpu::Backends::from_comma_list(value)),
        Some(word) => Err(Fault::new(Kind::Usage, format!("`{}` is not a known backend", word.trim()))
            .at(VARIABLE)
            .found(value)
            .remedy("use vulkan, dx12 or metal, or several of them separated by commas")),
    }
}

fn words(backends: wgpu::Backends) -> Vec<&'static str> {
    let named = Backend::ALL.iter().filter(|backend| backends.contains(backend.flag()));
    named.map(|backend| backend.word()).collect()
}

/// One instance for each choice of backends, so that other drivers are not even loaded.
fn instance(backends: wgpu::Backends, prober: Option<&Prober>) -> wgpu::Instance {
    static INSTANCES: Mutex<Vec<(wgpu::Backends, wgpu::Instance)>> = Mutex::new(Vec::new());
    let mut instances = INSTANCES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, instance)) = instances.iter().find(|(of, _)| *of == backends) {
        return instance.clone();
    }
    if instances.is_empty() {
        prepare_drivers(backends, prober);
    }
    let instance = new_instance(backends);
    instances.push((backends, instance.clone()));
    instance
}

fn new_instance(backends: wgpu::Backends) -> wgpu::Instance {
    wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends,
        flags: wgpu::InstanceFlags::empty(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    })
}

/// Mesa's device-selection layer complains on the terminal if there is no desktop session; we rank the adapters
/// ourselves.
#[allow(unsafe_code)]
fn quiet_selection() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: nothing has touched a driver yet, and no thread of ours reads the environment meanwhile.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

/// Makes settings that a driver reads when it is loaded, so it runs before the first instance that stays. It never
/// overrides the user's own.
#[allow(unsafe_code)]
fn prepare_drivers(backends: wgpu::Backends, prober: Option<&Prober>) {
    quiet_selection();
    if backends.contains(wgpu::Backends::VULKAN) {
        let list = || listed_by(&new_instance(wgpu::Backends::VULKAN), wgpu::Backends::VULKAN);
        // SAFETY: as above.
        unsafe { super::width::choose(list, prober) };
    }
}

/// All adapters of an instance.
fn listed_by(instance: &wgpu::Instance, backends: wgpu::Backends) -> Vec<Candidate> {
    let adapters = pollster::block_on(instance.enumerate_adapters(backends));
    let candidate =
        |(index, adapter): (usize, wgpu::Adapter)| Candidate { index, info: adapter.get_info(), adapter };
    adapters.into_iter().enumerate().map(candidate).collect()
}

/// All adapters of the backend that the options choose, in the drivers' order. A device with two backends is listed
/// once for each.
///
/// # Errors
/// [`Kind::Usage`] if `WGPU_BACKEND` names an unknown backend; [`Kind::Device`] if this system lacks the chosen one,
/// or there is no adapter.
pub fn candidates(options: &OpenOptions) -> Result<Vec<Candidate>> {
    all(options, true)
}

/// The same list, which may be empty unless an adapter is `needed`.
pub(super) fn all(options: &OpenOptions, needed: bool) -> Result<Vec<Candidate>> {
    let (backends, chosen_by) = backends(options.backend)?;
    let all = listed_by(&instance(backends, options.prober.as_ref()), backends);
    if needed && all.is_empty() { Err(no_adapter(chosen_by)) } else { Ok(all) }
}

/// Whether there is an adapter that is no software driver. Listing them prepares nothing: a software driver that nobody
/// uses need not be measured.
///
/// # Errors
/// Those of [`candidates`] about backends: that there is no adapter is no error.
pub fn hardware(options: &OpenOptions) -> Result<bool> {
    let (backends, _) = backends(options.backend)?;
    quiet_selection();
    Ok(listed_by(&new_instance(backends), backends).iter().any(|candidate| !candidate.software()))
}

/// Index of the default adapter in the list.
pub(super) fn preferred(all: &[Candidate]) -> Option<usize> {
    all.iter().enumerate().min_by_key(|(_, c)| (c.rank(), c.index)).map(|(i, _)| i)
}

/// Takes the adapter that `wanted` names from a list, or the best by rank.
///
/// # Errors
/// [`Kind::Device`] if none has that index or name.
pub(super) fn choose(all: Vec<Candidate>, wanted: Option<&str>) -> Result<Candidate> {
    let place = place(&all, wanted)?;
    let mut all = all;
    Ok(all.swap_remove(place))
}

/// Index of that adapter in the list.
pub(super) fn place(all: &[Candidate], wanted: Option<&str>) -> Result<usize> {
    let names: Vec<&str> = all.iter().map(|candidate| candidate.info.name.as_str()).collect();
    match wanted {
        Some(wanted) => named(&names, wanted),
        None => Ok(preferred(all).unwrap_or(0)),
    }
}

/// Finds the adapter that is `wanted` by index or by part of its name. Digits alone are an index: half of all names
/// contain a 5.
fn named(names: &[&str], wanted: &str) -> Result<usize> {
    let digits = wanted.bytes().all(|byte| byte.is_ascii_digit());
    let (found, what) = if digits {
        let count = match names.len() {
            1 => "there is 1 adapter, with index 0".to_owned(),
            count => format!("there are {count} adapters, with indices 0 to {}", count - 1),
        };
        let index = wanted.parse::<usize>().ok().filter(|&index| index < names.len());
        (index, format!("no adapter has the index {wanted}: {count}"))
    } else {
        let lower = wanted.to_lowercase();
        let place = names.iter().position(|name| name.to_lowercase().contains(&lower));
        (place, format!("no adapter has `{wanted}` in its name"))
    };
    found.ok_or_else(|| {
        let list: Vec<String> = names.iter().enumerate().map(|(i, name)| format!("{i}: {name}")).collect();
        Fault::new(Kind::Device, what)
            .at("--device")
            .found(list.join("; "))
            .remedy("give an index or a part of one of these names")
    })
}

fn no_adapter(chosen_by: Option<String>) -> Fault {
    if let Some(by) = chosen_by {
        return Fault::new(Kind::Device, "no adapter was found through the chosen backend")
            .at(by)
            .remedy("omit it to search all backends");
    }
    let remedy = if cfg!(target_os = "linux") {
        "install a Vulkan driver; on Debian and Ubuntu `apt-get install libvulkan1 mesa-vulkan-drivers` \
         brings one that runs on any CPU"
    } else {
        "install the graphics driver of this machine (Metal on macOS, DirectX 12 or Vulkan on Windows)"
    };
    Fault::new(Kind::Device, "no GPU adapter was found, not even a software one")
        .remedy(format!("use --device cpu, which needs no driver, or {remedy}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: [&str; 2] = ["NVIDIA GeForce RTX 4050", "llvmpipe (LLVM 15.0.6, 256 bits)"];

    #[test]
    fn digits_are_an_index_and_nothing_else() {
        assert_eq!(named(&NAMES, "0").unwrap(), 0);
        assert_eq!(named(&NAMES, "1").unwrap(), 1);
        assert_eq!(named(&NAMES, "01").unwrap(), 1);
        assert_eq!(named(&NAMES, "RTX 40").unwrap(), 0);
        assert_eq!(named(&NAMES, "LLVMpipe").unwrap(), 1);
        for beyond in ["2", "5", "4050", "256", "99999999999999999999999"] {
            let fault = named(&NAMES, beyond).unwrap_err();
            assert_eq!(fault.kind, Kind::Device);
            let wanted = format!("the index {beyond}: there are 2 adapters, with indices 0 to 1");
            assert!(fault.to_string().contains(&wanted), "{fault}");
        }
        let fault = named(&NAMES[..1], "1").unwrap_err();
        assert!(fault.to_string().contains("there is 1 adapter, with index 0"), "{fault}");
        let fault = named(&NAMES, "radeon").unwrap_err();
        assert!(fault.to_string().contains("`radeon`") && fault.to_string().contains(NAMES[1]), "{fault}");
    }

    #[test]
    fn a_list_of_backends_is_read_as_wgpu_reads_it() {
        assert_eq!(listed("vulkan").unwrap(), wgpu::Backends::VULKAN);
        assert_eq!(listed(" VK, d3d12").unwrap(), wgpu::Backends::VULKAN | wgpu::Backends::DX12);
        for wrong in ["gl", "vulkan,metall", "vulkan,"] {
            assert_eq!(listed(wrong).unwrap_err().kind, Kind::Usage, "{wrong}");
        }
    }
}
