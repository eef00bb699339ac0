//! A Vulkan driver of Mesa's on a device that does not exist: its compiler, without a card.

#![allow(unsafe_code)]

use ash::{khr, vk};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::CStr;

/// A driver that compiles for one kind of GPU.
pub struct Driver {
    // Keeps the loader alive.
    _entry: ash::Entry,
    _instance: ash::Instance,
    device: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// 16-bit floats in shaders.
    pub f16: bool,
    /// Matrix units.
    pub units: bool,
    /// Mesa's version, as it names itself.
    pub version: String,
}

/// The compiler's figures for one kernel.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Lanes of a subgroup.
    pub lanes: u32,
    named: BTreeMap<String, u64>,
}

impl Figures {
    /// The figure with that name.
    pub fn get(&self, name: &str) -> u64 {
        let names = || self.named.keys().collect::<Vec<_>>();
        *self
            .named
            .get(name)
            .unwrap_or_else(|| panic!("the driver says nothing of `{name}`, but of {:?}", names()))
    }
}

impl Driver {
    /// Opens the device that a driver pretends to have.
    ///
    /// # Errors
    /// What is missing.
    pub fn open(wanted: vk::DriverId) -> Result<Self, String> {
        // SAFETY: the loader is the system's; each call gets what the call before it returned, and pointers that stay
        // valid.
        unsafe {
            let entry = ash::Entry::load().map_err(|error| format!("the Vulkan loader: {error}"))?;
            let application = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let create = vk::InstanceCreateInfo::default().application_info(&application);
            let instance = entry.create_instance(&create, None).map_err(|error| error.to_string())?;
            let mut found = None;
            for device in instance.enumerate_physical_devices().map_err(|error| error.to_string())? {
                let mut driver = vk::PhysicalDeviceDriverProperties::default();
                let mut properties = vk::PhysicalDeviceProperties2::default().push_next(&mut driver);
                instance.get_physical_device_properties2(device, &mut properties);
                if driver.driver_id == wanted {
                    found = Some((device, text(&driver.driver_info).to_owned()));
                }
            }
            let (physical, version) = found.ok_or_else(|| format!("no device of the driver {wanted:?}"))?;
            let (mut f16, mut storage16) = (
                vk::PhysicalDeviceShaderFloat16Int8Features::default(),
                vk::PhysicalDevice16BitStorageFeatures::default(),
            );
            let mut features =
                vk::PhysicalDeviceFeatures2::default().push_next(&mut f16).push_next(&mut storage16);
            instance.get_physical_device_features2(physical, &mut features);
            // New structs, because those above are already links of a chain.
            let half = f16.shader_float16 == vk::TRUE && storage16.storage_buffer16_bit_access == vk::TRUE;
            let mut f16 = vk::PhysicalDeviceShaderFloat16Int8Features::default().shader_float16(half);
            let mut storage16 =
                vk::PhysicalDevice16BitStorageFeatures::default().storage_buffer16_bit_access(half);
            let mut statistics = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let mut sizes =
                vk::PhysicalDeviceSubgroupSizeControlFeatures::default().subgroup_size_control(true);
            let mut model = vk::PhysicalDeviceVulkanMemoryModelFeatures::default().vulkan_memory_model(true);
            let offered = instance
                .enumerate_device_extension_properties(physical)
                .map_err(|error| error.to_string())?;
            let name = khr::cooperative_matrix::NAME;
            let units = offered.iter().any(|known| known.extension_name_as_c_str() == Ok(name));
            let mut matrices =
                vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(units);
            let queues = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
            if units {
                extensions.push(name.as_ptr());
            }
            let mut create = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queues)
                .enabled_extension_names(&extensions)
                .push_next(&mut f16)
                .push_next(&mut storage16)
                .push_next(&mut statistics)
                .push_next(&mut sizes)
                .push_next(&mut model);
            if units {
                create = create.push_next(&mut matrices);
            }
            let device =
                instance.create_device(physical, &create, None).map_err(|error| error.to_string())?;
            let executables = khr::pipeline_executable_properties::Device::new(&instance, &device);
            Ok(Self { _entry: entry, _instance: instance, device, executables, f16: half, units, version })
        }
    }

    /// Compiles the entry point of a module that binds storage buffers at `slots`.
    ///
    /// # Errors
    /// If the driver refuses, or does not report the figures that are asked for.
    pub fn compile(&self, words: &[u32], entry: &str, slots: &[u32]) -> Result<Figures, String> {
        let name = std::ffi::CString::new(entry).map_err(|error| error.to_string())?;
        let bindings: Vec<_> = (slots.iter())
            .map(|&slot| {
                vk::DescriptorSetLayoutBinding::default()
                    .binding(slot)
                    .descriptor_type(vk::DescriptorType::STORAGE_BUFFER)
                    .descriptor_count(1)
                    .stage_flags(vk::ShaderStageFlags::COMPUTE)
            })
            .collect();
        let device = &self.device;
        // SAFETY: all handles are this device's, and are destroyed once, after their last use.
        unsafe {
            let create = vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings);
            let set = device.create_descriptor_set_layout(&create, None).map_err(|e| e.to_string())?;
            let sets = [set];
            let create = vk::PipelineLayoutCreateInfo::default().set_layouts(&sets);
            let layout = device.create_pipeline_layout(&create, None).map_err(|e| e.to_string())?;
            let create = vk::ShaderModuleCreateInfo::default().code(words);
            let module = device.create_shader_module(&create, None).map_err(|e| e.to_string())?;
            // As wgpu does if there are subgroups.
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(&name);
            let create = vk::ComputePipelineCreateInfo::default()
                .flags(vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR)
                .layout(layout)
                .stage(stage);
            let made = device.create_compute_pipelines(vk::PipelineCache::null(), &[create], None);
            let figures = match &made {
                Ok(pipelines) => self.figures(pipelines[0]),
                Err((_, error)) => Err(error.to_string()),
            };
            for pipeline in made.unwrap_or_else(|(pipelines, _)| pipelines) {
                device.destroy_pipeline(pipeline, None);
            }
            device.destroy_shader_module(module, None);
            device.destroy_pipeline_layout(layout, None);
            device.destroy_descriptor_set_layout(set, None);
            figures
        }
    }

    fn figures(&self, pipeline: vk::Pipeline) -> Result<Figures, String> {
        let of = vk::PipelineInfoKHR::default().pipeline(pipeline);
        let info = vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(0);
        // SAFETY: the pipeline is this device's, and has statistics.
        let (shapes, found) = unsafe {
            let shapes = self.executables.get_pipeline_executable_properties(&of);
            (shapes, self.executables.get_pipeline_executable_statistics(&info))
        };
        let (shapes, found) = (shapes.map_err(|e| e.to_string())?, found.map_err(|e| e.to_string())?);
        let [shape] = &shapes[..] else {
            return Err(format!("a kernel became {} executables", shapes.len()));
        };
        let whole = |statistic: &&vk::PipelineExecutableStatisticKHR<'_>| {
            statistic.format == vk::PipelineExecutableStatisticFormatKHR::UINT64
        };
        // SAFETY: the value has this type.
        let named = |statistic: &vk::PipelineExecutableStatisticKHR<'_>| unsafe {
            (text(&statistic.name).to_owned(), statistic.value.u64)
        };
        Ok(Figures { lanes: shape.subgroup_size, named: found.iter().filter(whole).map(named).collect() })
    }
}

/// A Vulkan text, up to its zero.
fn text(characters: &[std::ffi::c_char]) -> &str {
    // SAFETY: the driver ends each of its texts with a zero inside the array.
    unsafe { CStr::from_ptr(characters.as_ptr()) }.to_str().unwrap_or_default()
}
