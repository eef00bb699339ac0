//! Shader text → pipeline, with the slot of every variable read from the parsed module.

use super::Gpu;
use crate::fault::{Fault, Kind, Result};
use crate::ops::Kernel;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

/// A compiled kernel.
pub struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
    /// The variables the entry point uses.
    pub(crate) variables: Vec<Variable>,
}

/// One bound variable of an entry point.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    pub name: String,
    pub slot: u32,
}

/// Everything compiled so far.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: HashMap<Arc<str>, Rc<Module>>,
    pipelines: HashMap<Key, Rc<Pipeline>>,
}

struct Module {
    module: wgpu::ShaderModule,
    entries: HashMap<String, Vec<Variable>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: Arc<str>,
    entry: &'static str,
    constants: Vec<(&'static str, u64)>,
}

impl Gpu {
    /// The pipeline of a kernel; equal kernels share one.
    pub(crate) fn pipeline(&self, kernel: &Kernel) -> Result<Rc<Pipeline>> {
        let key = Key {
            text: kernel.text.clone(),
            entry: kernel.entry,
            constants: kernel.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
        };
        if let Some(known) = self.pipelines.borrow().pipelines.get(&key) {
            return Ok(known.clone());
        }
        let built = Rc::new(self.build(kernel)?);
        self.count(|c| c.pipelines += 1);
        self.pipelines.borrow_mut().pipelines.insert(key, built.clone());
        Ok(built)
    }

    fn build(&self, kernel: &Kernel) -> Result<Pipeline> {
        let module = self.module(kernel)?;
        let variables = module.entries.get(kernel.entry).cloned().ok_or_else(|| {
            shader_fault(
                kernel,
                &format!("there is no entry point of that name among {:?}", module.entries.keys()),
            )
        })?;
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        let internal = self.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(kernel.entry),
            layout: None,
            module: &module.module,
            entry_point: Some(kernel.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &kernel.constants,
                zero_initialize_workgroup_memory: false,
            },
            cache: None,
        });
        let errors = [pollster::block_on(internal.pop()), pollster::block_on(scope.pop())];
        if let Some(error) = errors.into_iter().flatten().next() {
            return Err(shader_fault(kernel, &error.to_string()));
        }
        let layout = pipeline.get_bind_group_layout(0);
        Ok(Pipeline { pipeline, layout, variables })
    }

    fn module(&self, kernel: &Kernel) -> Result<Rc<Module>> {
        if let Some(known) = self.pipelines.borrow().modules.get(&kernel.text) {
            return Ok(known.clone());
        }
        let entries = entry_points(&kernel.text).map_err(|message| shader_fault(kernel, &message))?;
        let checks = match self.checked {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.entry),
            source: wgpu::ShaderSource::Wgsl(kernel.text.as_ref().into()),
        };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        // SAFETY: the text is our own; it reads and writes within its bindings (the tests hold every kernel against
        // the reference with poisoned memory around its operands, and a whole step also with the checks), divides by no zero and has no endless loop.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(shader_fault(kernel, &error.to_string()));
        }
        let module = Rc::new(Module { module, entries });
        self.pipelines.borrow_mut().modules.insert(kernel.text.clone(), module.clone());
        Ok(module)
    }
}

/// The bound variables of every entry point of a WGSL text, by name.
fn entry_points(text: &str) -> std::result::Result<HashMap<String, Vec<Variable>>, String> {
    let module = naga::front::wgsl::parse_str(text).map_err(|error| error.emit_to_string(text))?;
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    let info = validator.validate(&module).map_err(|error| error.emit_to_string(text))?;
    let mut entries = HashMap::new();
    for (i, entry) in module.entry_points.iter().enumerate() {
        let uses = info.get_entry_point(i);
        let variables = module
            .global_variables
            .iter()
            .filter(|&(handle, _)| !uses[handle].is_empty())
            .filter_map(|(_, variable)| {
                let slot = variable.binding.as_ref()?.binding;
                Some(Variable { name: variable.name.clone()?, slot })
            })
            .collect();
        entries.insert(entry.name.clone(), variables);
    }
    Ok(entries)
}

/// A shader that does not compile is a defect of this program or of the driver, never of the user.
fn shader_fault(kernel: &Kernel, message: &str) -> Fault {
    Fault::new(Kind::Device, format!("the kernel `{}` does not compile on this device", kernel.entry))
        .found(message)
        .remedy("please report it with the output of `normfree devices`")
}
