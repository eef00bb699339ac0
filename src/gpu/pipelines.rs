//! Shader text → pipeline, with the slot of every variable read from the parsed module.

use super::Gpu;
use super::kept::Kept;
use crate::fault::{Fault, Kind, Result};
use crate::ops::Kernel;
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

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

/// What a device does before it can run a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The driver compiles texts into pipelines.
    Compiling,
    /// The driver loads the pipelines; some compile only now.
    Loading,
}

/// Called with a stage, the number of pipelines it has done, and the number of all.
pub type Listener = Box<dyn Fn(Stage, usize, usize)>;

/// Everything compiled so far.
#[derive(Default)]
pub(super) struct Pipelines {
    modules: HashMap<Arc<str>, Module>,
    pipelines: HashMap<Key, Rc<Pipeline>>,
}

struct Module {
    module: wgpu::ShaderModule,
    entries: Entries,
}

#[derive(PartialEq, Eq, Hash)]
struct Key {
    text: Arc<str>,
    entry: &'static str,
    constants: Vec<(&'static str, u64)>,
}

impl Key {
    fn of(kernel: &Kernel) -> Self {
        Self {
            text: kernel.text.clone(),
            entry: kernel.entry,
            constants: kernel.constants.iter().map(|&(name, value)| (name, value.to_bits())).collect(),
        }
    }
}

impl Gpu {
    /// The pipeline of a kernel; equal kernels share one.
    pub(crate) fn pipeline(&self, kernel: &Kernel) -> Result<Rc<Pipeline>> {
        self.prepare([kernel])?;
        Ok(self.pipelines.borrow().pipelines[&Key::of(kernel)].clone())
    }

    /// Compiles those of `kernels` that are new, on all cores: a driver compiles one pipeline on one core.
    pub(crate) fn prepare<'k>(&self, kernels: impl IntoIterator<Item = &'k Kernel>) -> Result<()> {
        let known = &mut *self.pipelines.borrow_mut();
        let mut wanted: HashMap<Key, &Kernel> = HashMap::new();
        for kernel in kernels {
            let key = Key::of(kernel);
            if !known.pipelines.contains_key(&key) {
                wanted.insert(key, kernel);
            }
        }
        let compiler = Compiler {
            device: &self.device,
            checked: self.checked,
            cache: self.kept.as_ref().map(Kept::cache),
        };
        let texts: HashMap<&str, &Kernel> = wanted
            .values()
            .filter(|kernel| !known.modules.contains_key(&kernel.text))
            .map(|kernel| (&*kernel.text, *kernel))
            .collect();
        let texts: Vec<&Kernel> = texts.into_values().collect();
        let modules = on_all_cores(&texts, |kernel| compiler.module(kernel), |_| {});
        for (kernel, module) in texts.iter().zip(modules) {
            known.modules.insert(kernel.text.clone(), module?);
        }
        let wanted: Vec<(Key, &Kernel)> = wanted.into_iter().collect();
        let compile = |(_, kernel): &(Key, &Kernel)| compiler.pipeline(kernel, &known.modules[&kernel.text]);
        let made = on_all_cores(&wanted, compile, |done| self.tell(Stage::Compiling, done, wanted.len()));
        for ((key, _), pipeline) in wanted.into_iter().zip(made) {
            known.pipelines.insert(key, Rc::new(pipeline?));
            self.count(|c| c.pipelines += 1);
        }
        Ok(())
    }

    /// Sets the listener for slow stages, or removes it if `None`. Returns the previous one.
    pub fn listen(&self, listener: Option<Listener>) -> Option<Listener> {
        self.listener.replace(listener)
    }

    pub(crate) fn tell(&self, stage: Stage, done: usize, all: usize) {
        if let Some(listener) = &*self.listener.borrow() {
            listener(stage, done, all);
        }
    }

    /// Writes what the driver compiled to disk, for later runs. If that fails, the run goes on.
    pub(crate) fn keep_pipelines(&self) {
        if let Some(kept) = &self.kept {
            kept.store();
        }
    }
}

/// The parts of a device that compiling needs and threads may share.
struct Compiler<'a> {
    device: &'a wgpu::Device,
    checked: bool,
    cache: Option<&'a wgpu::PipelineCache>,
}

impl Compiler<'_> {
    #[allow(unsafe_code)]
    fn module(&self, kernel: &Kernel) -> Result<Module> {
        let (parsed, entries) = parse(&kernel.text).map_err(|message| shader_fault(kernel, &message))?;
        let checks = match self.checked {
            true => wgpu::ShaderRuntimeChecks::checked(),
            false => wgpu::ShaderRuntimeChecks::unchecked(),
        };
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(kernel.entry),
            source: wgpu::ShaderSource::Naga(Cow::Owned(parsed)),
        };
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::Validation);
        // SAFETY: the text is our own. It reads and writes within its bindings (the tests compare every kernel with the
        // reference, with poisoned memory around its operands, and a whole step also with the checks on), divides by no
        // zero and has no endless loop.
        let module = unsafe { self.device.create_shader_module_trusted(descriptor, checks) };
        if let Some(error) = pollster::block_on(scope.pop()) {
            return Err(shader_fault(kernel, &error.to_string()));
        }
        Ok(Module { module, entries })
    }

    fn pipeline(&self, kernel: &Kernel, module: &Module) -> Result<Pipeline> {
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
            cache: self.cache,
        });
        let errors = [pollster::block_on(internal.pop()), pollster::block_on(scope.pop())];
        if let Some(error) = errors.into_iter().flatten().next() {
            return Err(shader_fault(kernel, &error.to_string()));
        }
        let layout = pipeline.get_bind_group_layout(0);
        Ok(Pipeline { pipeline, layout, variables })
    }
}

/// Runs `work` on every item, on as many threads as there are cores, and returns the results in the items' order.
/// Calls `tell` on this thread with the number of items done: 0 at the start, then after each item.
fn on_all_cores<T: Sync, R: Send>(
    items: &[T],
    work: impl Fn(&T) -> R + Sync,
    tell: impl Fn(usize),
) -> Vec<R> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from).min(items.len());
    let next = AtomicUsize::new(0);
    let (tick, ticks) = channel();
    let one = |tick: Sender<()>| {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(item) = items.get(place) else { return done };
            done.push((place, work(item)));
            // The receiver is gone if the calling thread panicked.
            let _ = tick.send(());
        }
    };
    let one = &one;
    let mut done: Vec<(usize, R)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|_| {
                let tick = tick.clone();
                scope.spawn(move || one(tick))
            })
            .collect();
        drop(tick);
        if !items.is_empty() {
            tell(0);
        }
        ticks.iter().enumerate().for_each(|(before, ())| tell(before + 1));
        threads
            .into_iter()
            .flat_map(|thread| thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().map(|(_, result)| result).collect()
}

/// The variables of each entry point, by its name.
type Entries = HashMap<String, Vec<Variable>>;

/// Parses a WGSL text into a module and the bound variables of its entry points.
fn parse(text: &str) -> std::result::Result<(naga::Module, Entries), String> {
    let module = crate::ops::parse(text)?;
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
    Ok((module, entries))
}

/// A shader that does not compile is a bug in this program or the driver, never the user's mistake.
fn shader_fault(kernel: &Kernel, message: &str) -> Fault {
    Fault::new(Kind::Device, format!("the kernel `{}` does not compile on this device", kernel.entry))
        .found(message)
        .remedy("please report it with the output of `normfree devices`")
}

#[cfg(test)]
mod tests {
    use super::on_all_cores;

    #[test]
    fn results_keep_the_items_order() {
        for count in [0, 1, 2, 1000] {
            let items: Vec<usize> = (0..count).collect();
            let squares: Vec<usize> = items.iter().map(|i| i * i).collect();
            let told = std::cell::RefCell::new(Vec::new());
            assert_eq!(on_all_cores(&items, |i| i * i, |done| told.borrow_mut().push(done)), squares);
            let wanted: Vec<usize> = if count == 0 { Vec::new() } else { (0..=count).collect() };
            assert_eq!(*told.borrow(), wanted);
        }
    }
}
