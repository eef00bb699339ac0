//! Which adapters there are, and which one a run takes.

use crate::fault::{Fault, Kind, Result};
use std::sync::OnceLock;

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

    /// Name, kind, and the API it is reached through, for a person.
    pub fn title(&self) -> String {
        let kind = super::AdapterKind::from(self.info.device_type).title();
        format!("{} ({kind}, {})", self.info.name, self.info.backend)
    }

    /// Smaller is better: a discrete card, then an integrated one, software last.
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

fn instance() -> &'static wgpu::Instance {
    static INSTANCE: OnceLock<wgpu::Instance> = OnceLock::new();
    INSTANCE.get_or_init(|| {
        prepare_drivers();
        wgpu::Instance::new(wgpu::InstanceDescriptor {
            backends: wgpu::Backends::PRIMARY,
            flags: wgpu::InstanceFlags::empty(),
            ..wgpu::InstanceDescriptor::new_without_display_handle()
        })
    })
}

/// Settings a driver reads when it is loaded, so they are made before the first instance. Never against the
/// user's own.
///
/// Mesa's software driver uses 256-bit lanes unless told otherwise; with AVX-512 the kernels run 35–60%
/// faster at 512. Its device-selection layer complains on the terminal where there is no desktop session; we
/// rank the adapters ourselves.
fn prepare_drivers() {
    let set_default = |variable: &str, value: &str| {
        if std::env::var_os(variable).is_none() {
            // SAFETY: the first thing that touches a driver; no thread of ours reads the environment meanwhile.
            unsafe { std::env::set_var(variable, value) };
        }
    };
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx512f") {
        set_default("LP_NATIVE_VECTOR_WIDTH", "512");
    }
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        set_default("NODEVICE_SELECT", "1");
    }
}

/// All adapters, in the driver's order. One device reached through two APIs is listed once for each.
pub fn candidates() -> Vec<Candidate> {
    let adapters = pollster::block_on(instance().enumerate_adapters(wgpu::Backends::PRIMARY));
    adapters
        .into_iter()
        .enumerate()
        .map(|(index, adapter)| Candidate { index, info: adapter.get_info(), adapter })
        .collect()
}

/// Where in the list the adapter stands that is taken unasked.
pub(super) fn preferred(all: &[Candidate]) -> Option<usize> {
    all.iter().enumerate().min_by_key(|(_, c)| (c.rank(), c.index)).map(|(i, _)| i)
}

/// The adapter to use: the one `wanted` names by index or part of its name, else the best by rank.
pub fn choose(wanted: Option<&str>) -> Result<Candidate> {
    let mut all = candidates();
    if all.is_empty() {
        return Err(no_adapter());
    }
    let Some(wanted) = wanted else {
        let best = preferred(&all).unwrap_or(0);
        return Ok(all.swap_remove(best));
    };
    let lower = wanted.to_lowercase();
    let named = |c: &Candidate| c.info.name.to_lowercase().contains(&lower);
    // A number that is no index may still be part of a name, as in RTX 4090.
    let index = wanted.parse::<usize>().ok().and_then(|index| all.iter().position(|c| c.index == index));
    match index.or_else(|| all.iter().position(named)) {
        Some(i) => Ok(all.swap_remove(i)),
        None => {
            let list: Vec<String> = all.iter().map(|c| format!("{}: {}", c.index, c.info.name)).collect();
            Err(Fault::new(Kind::Device, format!("no adapter matches `{wanted}`"))
                .at("--device")
                .found(list.join("; "))
                .remedy("give an index or a part of one of these names"))
        }
    }
}

fn no_adapter() -> Fault {
    let remedy = if cfg!(target_os = "linux") {
        "install a Vulkan driver; on Debian and Ubuntu `apt-get install libvulkan1 mesa-vulkan-drivers` \
         brings one that runs on any CPU"
    } else {
        "install the graphics driver of this machine (Metal on macOS, DirectX 12 or Vulkan on Windows)"
    };
    Fault::new(Kind::Device, "no GPU adapter was found, not even a software one").remedy(remedy)
}
