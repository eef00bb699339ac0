//! Adapters as plain data, for people and for `env.json`.

use super::{Candidate, Gpu, OpenOptions, adapters};
use crate::fault::Result;
use serde::Serialize;

/// The kind of an adapter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum AdapterKind {
    DiscreteGpu,
    IntegratedGpu,
    VirtualGpu,
    Unknown,
    /// A driver that runs on the CPU.
    Software,
    /// The CPU itself, without a driver.
    Cpu,
}

impl AdapterKind {
    /// For display.
    pub fn title(self) -> &'static str {
        match self {
            Self::DiscreteGpu => "discrete GPU",
            Self::IntegratedGpu => "integrated GPU",
            Self::VirtualGpu => "virtual GPU",
            Self::Unknown => "of unknown kind",
            Self::Software => "software, runs on the CPU",
            Self::Cpu => "the CPU itself, without a driver",
        }
    }
}

impl From<wgpu::DeviceType> for AdapterKind {
    fn from(kind: wgpu::DeviceType) -> Self {
        match kind {
            wgpu::DeviceType::DiscreteGpu => Self::DiscreteGpu,
            wgpu::DeviceType::IntegratedGpu => Self::IntegratedGpu,
            wgpu::DeviceType::VirtualGpu => Self::VirtualGpu,
            wgpu::DeviceType::Other => Self::Unknown,
            wgpu::DeviceType::Cpu => Self::Software,
        }
    }
}

/// One adapter: what it is and what it allows. Sizes are in bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// Its index in the list, which `--device` takes. It changes as drivers come and go.
    pub index: usize,
    pub name: String,
    pub kind: AdapterKind,
    /// Vulkan, Metal or Dx12.
    pub api: String,
    pub driver: String,
    /// Lanes of a subgroup as a shader saw them; 0 if subgroups are not used, `None` until the adapter has been opened.
    pub lanes: Option<u32>,
    /// The smallest and largest subgroup the driver reports.
    pub reported_lanes: (u32, u32),
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Side of the f16 fragments that a shader saw matrix units multiply; 0 if they are not used.
    pub cooperative: u32,
    /// Timestamps around kernels.
    pub timestamps: bool,
    pub max_binding: u64,
    pub max_buffer: u64,
    pub workgroup_memory: u32,
    pub max_invocations: u32,
}

impl Description {
    /// Describes an adapter that has not been opened yet.
    pub(super) fn of(candidate: &Candidate) -> Self {
        let (info, limits) = (&candidate.info, candidate.adapter.limits());
        let features = candidate.adapter.features();
        let driver = [info.driver.as_str(), info.driver_info.as_str()];
        Self {
            index: candidate.index,
            name: info.name.clone(),
            kind: info.device_type.into(),
            api: info.backend.to_string(),
            driver: driver.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" "),
            lanes: None,
            reported_lanes: (info.subgroup_min_size, info.subgroup_max_size),
            f16: features.contains(wgpu::Features::SHADER_F16),
            cooperative: 0,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            max_binding: largest_binding(info.backend, limits.max_storage_buffer_binding_size),
            max_buffer: limits.max_buffer_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            max_invocations: limits.max_compute_invocations_per_workgroup,
        }
    }

    /// Whether the device's memory is the machine's.
    pub fn on_cpu(&self) -> bool {
        matches!(self.kind, AdapterKind::Software | AdapterKind::Cpu)
    }

    /// Whether the driver runs on the CPU.
    pub fn software(&self) -> bool {
        self.kind == AdapterKind::Software
    }
}

/// The largest binding to use, in bytes, if an API allows `allowed`. With bounds checks on, Metal computes lengths in
/// 32 bits, which would truncate the length of a binding of 4 GiB or more.
fn largest_binding(api: wgpu::Backend, allowed: u64) -> u64 {
    match api {
        wgpu::Backend::Metal => allowed.min((1 << 32) - 4),
        _ => allowed,
    }
}

/// An adapter of the list, opened to see what it can really do.
#[derive(Clone, Debug)]
pub struct Survey {
    pub description: Description,
    /// Why it cannot be opened.
    pub refusal: Option<String>,
    /// Which of its features are not used, and why: one sentence each.
    pub remarks: Vec<String>,
}

/// Every adapter of this machine, each opened once, and the index of the one that `options` select, or of the best. There
/// may be none unless one is `needed`.
///
/// # Errors
/// Those of [`candidates`](super::candidates); [`crate::fault::Kind::Device`] if the options name none of them.
pub fn survey(options: &OpenOptions, needed: bool) -> Result<(Vec<Survey>, Option<usize>)> {
    let all = adapters::all(options, needed)?;
    let taken = match all.is_empty() {
        true => None,
        false => Some(adapters::place(&all, options.device.as_deref())?),
    };
    let look = |candidate: Candidate| {
        let closed = Description::of(&candidate);
        match Gpu::open_candidate(candidate, options) {
            Ok(gpu) => {
                let (description, remarks) = (gpu.description().clone(), gpu.remarks().to_vec());
                Survey { description, refusal: None, remarks }
            }
            Err(fault) => {
                Survey { description: closed, refusal: Some(fault.to_string()), remarks: Vec::new() }
            }
        }
    };
    Ok((all.into_iter().map(look).collect(), taken))
}

#[cfg(test)]
mod tests {
    use super::largest_binding;
    use wgpu::Backend;

    #[test]
    fn bindings_stay_below_four_gibibytes_on_metal() {
        let most = (1 << 32) - 4;
        for (allowed, used) in [(128 << 20, 128 << 20), (most, most), (1 << 32, most), (36 << 30, most)] {
            assert_eq!(largest_binding(Backend::Metal, allowed), used);
        }
        assert_eq!(largest_binding(Backend::Vulkan, 36 << 30), 36 << 30);
        assert_eq!(largest_binding(Backend::Dx12, (1 << 31) - 1), (1 << 31) - 1);
    }
}
