//! Building a plan and recording it into command encoders.

use super::limits::check_limits;
use super::memory::{MemoryPlan, Pool, bytes_of, padded_bytes, pooled};
use super::store::{Span, Store, usage};
use crate::fault::Result;
use crate::gpu::{Gpu, Pipeline, Stage, Work, counted_seconds};
use crate::ops::{Dispatch, Operand, Recipe};
use crate::tape::shapes;
use crate::tape::{DType, Tape, TensorId};
use std::collections::HashSet;
use std::ops::Range;
use std::rc::Rc;

/// A tape prepared for replay; see the module above.
pub struct Plan {
    pub(super) steps: Vec<Step>,
    /// The estimated time of each step, in seconds on an assumed device.
    pub(super) counted: Vec<f64>,
    pool: Rc<Allocated>,
    memory: MemoryPlan,
    /// Node → its first step, with one more entry at the end.
    starts: Vec<usize>,
    /// The steps of observers, as ranges in order.
    pub(super) observing: Vec<Range<usize>>,
    /// Copies of fixed parameters into images, which [`Plan::fix`] makes.
    fixed: Vec<(Span, wgpu::Texture)>,
}

/// A pool, allocated on a device.
struct Allocated {
    buffers: Vec<Rc<wgpu::Buffer>>,
    images: Vec<wgpu::Texture>,
    sizes: Pool,
}

impl Allocated {
    fn new(gpu: &Gpu, sizes: Pool) -> Result<Self> {
        let buffer = |&bytes| gpu.buffer("intermediate", bytes, usage()).map(Rc::new);
        let buffers = sizes.buffers.iter().map(buffer).collect::<Result<_>>()?;
        let images = sizes
            .images
            .iter()
            .map(|&e| gpu.image(e.width, e.height, e.dtype == DType::F16))
            .collect::<Result<_>>()?;
        Ok(Self { buffers, images, sizes })
    }
}

/// One command, ready to record.
pub(super) enum Step {
    Dispatch(Dispatched),
    /// Copies a tensor's rows into an image.
    Copy {
        from: Span,
        to: wgpu::Texture,
        node: usize,
    },
}

/// One dispatch, ready to record.
pub(super) struct Dispatched {
    pub pipeline: Rc<Pipeline>,
    pub group: wgpu::BindGroup,
    pub groups: [u32; 3],
    pub node: usize,
    pub entry: &'static str,
}

impl Plan {
    /// Allocates, compiles and binds everything a tape needs. Parameters, gradients, inputs and observations
    /// are looked up in `store` by their tensors' names.
    ///
    /// # Errors
    /// [`Kind::Device`](crate::fault::Kind::Device) if a kernel does not compile or a limit is too small;
    /// [`Kind::Memory`](crate::fault::Kind::Memory) if the device does not have enough memory.
    pub fn build(gpu: &Gpu, tape: &Tape, store: &Store) -> Result<Self> {
        Self::build_all(gpu, [tape], store).map(|[plan]| plan)
    }

    /// The same for several tapes on one pool. They must never run at the same time, and no intermediate survives from
    /// one to the next.
    ///
    /// # Errors
    /// As [`Plan::build`].
    pub fn build_all<const N: usize>(gpu: &Gpu, tapes: [&Tape; N], store: &Store) -> Result<[Self; N]> {
        let (pool, planned) = Pool::plan(tapes, gpu.traits());
        for (tape, (_, recipes)) in tapes.iter().zip(&planned) {
            check_limits(tape, recipes, gpu.traits())?;
        }
        let recipes = planned.iter().flat_map(|(_, recipes)| recipes);
        gpu.prepare(recipes.flat_map(|recipe| &recipe.dispatches).map(|dispatch| &dispatch.kernel))?;
        let pool = Rc::new(Allocated::new(gpu, pool)?);
        let plans = tapes
            .iter()
            .zip(planned)
            .map(|(tape, (memory, recipes))| Self::bind(gpu, tape, store, pool.clone(), memory, &recipes));
        let plans: Vec<Self> = plans.collect::<Result<_>>()?;
        gpu.check()?;
        Ok(plans.try_into().unwrap_or_else(|_| unreachable!("one plan a tape")))
    }

    fn bind(
        gpu: &Gpu,
        tape: &Tape,
        store: &Store,
        pool: Rc<Allocated>,
        memory: MemoryPlan,
        recipes: &[Recipe],
    ) -> Result<Self> {
        let (starts, observing, fixed) = (Vec::new(), Vec::new(), Vec::new());
        let (steps, counted) = (Vec::new(), Vec::new());
        let mut plan = Self { steps, counted, pool, memory, starts, observing, fixed };
        for (node, recipe) in recipes.iter().enumerate() {
            plan.starts.push(plan.steps.len());
            for image in plan.memory.images.uses[node].iter().filter(|image| image.copy) {
                let from = plan.operand_span(tape, store, node, Operand::InputImage(image.input));
                let to = plan.pool.images[image.image].clone();
                match image.fixed {
                    true => plan.fixed.push((from, to)),
                    false => plan.steps.push(Step::Copy { from, to, node }),
                }
            }
            for (i, dispatch) in recipe.dispatches.iter().enumerate() {
                for &(operand, image) in &plan.memory.images.windows[node][i] {
                    let from = plan.operand_span(tape, store, node, operand);
                    let to = plan.pool.images[image].clone();
                    plan.steps.push(Step::Copy { from, to, node });
                }
                let step = plan.step(gpu, tape, store, node, (i, dispatch))?;
                plan.steps.push(Step::Dispatch(step));
            }
            plan.count(tape, node);
            if tape.nodes()[node].observing {
                plan.observing.push(plan.starts[node]..plan.steps.len());
            }
        }
        plan.starts.push(plan.steps.len());
        Ok(plan)
    }

    /// Estimates the times of the steps of the node bound last: its operations and bytes, divided equally among its dispatches.
    fn count(&mut self, tape: &Tape, node: usize) {
        let recorded = &tape.nodes()[node];
        let shapes = shapes(tape, recorded);
        let new = &self.steps[self.starts[node]..];
        let dispatches = new.iter().filter(|step| matches!(step, Step::Dispatch(_))).count();
        let whole = counted_seconds(recorded.op.flops(&shapes), recorded.op.bytes(&shapes));
        self.counted.extend(new.iter().map(|step| match step {
            Step::Dispatch(_) => whole / dispatches as f64,
            Step::Copy { from, .. } => counted_seconds(0, 2 * from.bytes),
        }));
    }

    /// Bytes of the plan's pool: device memory in addition to the store's, shared with the plans built together with it.
    pub fn pool_bytes(&self) -> u64 {
        self.pool.sizes.bytes()
    }

    /// Dispatches of one replay without the observers.
    pub fn dispatches(&self) -> usize {
        let steps = self.acting().into_iter().flat_map(|range| &self.steps[range]);
        steps.filter(|step| matches!(step, Step::Dispatch(_))).count()
    }

    /// Records one replay, with or without the observers. Submits what exceeds one submission on the way.
    pub(crate) fn record(&self, work: &mut Work<'_>, observing: bool) {
        let mut pass = None;
        if observing {
            return self.record_steps(work, 0..self.steps.len(), &mut pass);
        }
        for range in self.acting() {
            self.record_steps(work, range, &mut pass);
        }
    }

    /// The steps of all nodes except observers.
    pub(super) fn acting(&self) -> Vec<Range<usize>> {
        let starts = std::iter::once(0).chain(self.observing.iter().map(|range| range.end));
        let ends = self.observing.iter().map(|range| range.start).chain([self.steps.len()]);
        starts.zip(ends).map(|(start, end)| start..end).collect()
    }

    /// Records steps into the open pass, if there is one.
    fn record_steps(
        &self,
        work: &mut Work<'_>,
        range: Range<usize>,
        pass: &mut Option<wgpu::ComputePass<'static>>,
    ) {
        for (step, &counted) in self.steps[range.clone()].iter().zip(&self.counted[range]) {
            if work.is_full_with(counted) {
                *pass = None;
                work.cut();
            }
            work.count(counted);
            match step {
                Step::Dispatch(dispatch) => {
                    let pass = pass.get_or_insert_with(|| {
                        work.encoder().begin_compute_pass(&Default::default()).forget_lifetime()
                    });
                    dispatch.record(pass);
                }
                Step::Copy { from, to, .. } => {
                    *pass = None;
                    copy_to_image(work.encoder(), from, to);
                }
            }
        }
    }

    /// Makes the driver load every kernel of these plans, by dispatches of zero workgroups, which change nothing. Some
    /// drivers compile a kernel only at its first dispatch, and the first steps would wait for that.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn load_kernels(gpu: &Gpu, plans: &[&Self]) -> Result<()> {
        /// Kernels per submission: one submission per kernel would be slow when everything is already compiled.
        const AT_ONCE: usize = 4;
        let mut seen = HashSet::new();
        let steps = plans.iter().flat_map(|plan| &plan.steps);
        let dispatches: Vec<&Dispatched> = steps
            .filter_map(|step| match step {
                Step::Dispatch(dispatch) => Some(dispatch),
                Step::Copy { .. } => None,
            })
            .filter(|dispatch| seen.insert(Rc::as_ptr(&dispatch.pipeline)))
            .collect();
        for (i, some) in dispatches.chunks(AT_ONCE).enumerate() {
            gpu.tell(Stage::Loading, i * AT_ONCE, dispatches.len());
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let mut pass = encoder.begin_compute_pass(&Default::default());
            for dispatch in some {
                pass.set_pipeline(&dispatch.pipeline.pipeline);
                pass.set_bind_group(0, &dispatch.group, &[]);
                pass.dispatch_workgroups(0, 0, 0);
            }
            drop(pass);
            gpu.submit(encoder.finish(), 0.0);
            gpu.wait()?;
        }
        Ok(())
    }

    /// Copies the current values of fixed parameters into their images on the device. If several plans were built together,
    /// call this on each before any of them runs.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn fix(&self, gpu: &Gpu) -> Result<()> {
        let mut encoder = gpu.device.create_command_encoder(&Default::default());
        for (from, to) in &self.fixed {
            copy_to_image(&mut encoder, from, to);
        }
        gpu.submit(encoder.finish(), 0.0);
        gpu.check()
    }

    /// Runs every node once and waits. For setup, checks and tests.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn run(&self, gpu: &Gpu) -> Result<()> {
        self.submit(gpu)?;
        gpu.wait()
    }

    /// Submits one run of every node and returns without waiting.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn submit(&self, gpu: &Gpu) -> Result<()> {
        let mut work = Work::new(gpu);
        self.record(&mut work, true);
        work.send();
        gpu.check()
    }

    /// Runs one node alone and waits.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn run_node(&self, gpu: &Gpu, node: usize) -> Result<()> {
        let mut work = Work::new(gpu);
        self.record_steps(&mut work, self.starts[node]..self.starts[node + 1], &mut None);
        work.send();
        gpu.wait()
    }

    /// Fills every pooled buffer with a word, which exposes kernels that miss an element or read one that was never
    /// written. All ones are NaN in every element type.
    pub fn poison(&self, gpu: &Gpu, word: u32) {
        for (buffer, &bytes) in self.pool.buffers.iter().zip(&self.pool.sizes.buffers) {
            gpu.queue.write_buffer(buffer, 0, bytemuck::cast_slice(&vec![word; bytes as usize / 4]));
        }
    }

    /// Reads a tensor's current contents. By the end of a replay, another tensor may have overwritten an
    /// intermediate; read it after [`Plan::run_node`] of the node that wrote it.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn read(&self, gpu: &Gpu, tape: &Tape, store: &Store, tensor: TensorId) -> Result<Vec<f32>> {
        let (span, info) = (self.span(tape, store, tensor), tape.info(tensor));
        let elements = info.shape.elements();
        // Copies are whole words; an odd f16 tensor has padding behind it.
        let bytes = (elements * info.dtype.bytes()).next_multiple_of(4);
        let bytes = gpu.read(&span.buffer, span.offset, bytes as u64)?;
        Ok(match info.dtype {
            DType::F16 => f16s(&bytes, elements),
            DType::F32 | DType::U32 => bytemuck::pod_collect_to_vec(&bytes),
        })
    }

    fn span(&self, tape: &Tape, store: &Store, tensor: TensorId) -> Span {
        let info = tape.info(tensor);
        let home = tape.owner(tensor);
        let offset = info.parent.map_or(0, |(_, elements)| (elements * info.dtype.bytes()) as u64);
        let bytes = bytes_of(tape, tensor);
        if pooled(tape, home) {
            let buffer = self.pool.buffers[self.memory.homes[&home]].clone();
            return Span { buffer, offset, bytes };
        }
        let whole = store.span(&tape.info(home).name);
        Span {
            buffer: whole.buffer.clone(),
            offset: whole.offset + offset,
            bytes: bytes.min(whole.bytes - offset),
        }
    }

    fn step(
        &self,
        gpu: &Gpu,
        tape: &Tape,
        store: &Store,
        node: usize,
        (place_in_node, dispatch): (usize, &Dispatch),
    ) -> Result<Dispatched> {
        let recorded = &tape.nodes()[node];
        let pipeline = gpu.pipeline(&dispatch.kernel)?;
        let place = format!("{} in `{}`", dispatch.kernel.entry, recorded.op.name());
        let bound: Vec<(&str, Bound)> = dispatch
            .bindings
            .iter()
            .map(|&(name, operand)| (name, self.bound(tape, store, (node, place_in_node), operand)))
            .collect();
        for (name, _) in &bound {
            assert!(pipeline.variables.iter().any(|v| v.name == *name), "{place} has no variable `{name}`");
        }
        let mut entries = Vec::with_capacity(pipeline.variables.len());
        for variable in &pipeline.variables {
            let (_, bound) = bound
                .iter()
                .find(|(name, _)| *name == variable.name)
                .unwrap_or_else(|| panic!("nothing is bound to `{}` of {place}", variable.name));
            let resource = match bound {
                Bound::Buffer(span) => wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: &span.buffer,
                    offset: span.offset,
                    size: std::num::NonZeroU64::new(span.bytes),
                }),
                Bound::Image(view) => wgpu::BindingResource::TextureView(view),
            };
            entries.push(wgpu::BindGroupEntry { binding: variable.slot, resource });
        }
        let group = gpu.bind_group(&pipeline.layout, &entries);
        Ok(Dispatched { pipeline, group, groups: dispatch.groups, node, entry: dispatch.kernel.entry })
    }

    fn bound(&self, tape: &Tape, store: &Store, (node, dispatch): (usize, usize), operand: Operand) -> Bound {
        let images = &self.memory.images;
        let image = match operand {
            Operand::InputImage(i) => images.uses[node].iter().find(|u| u.input == i).map(|u| u.image),
            Operand::InputWindowImage { .. } | Operand::OutputWindowImage { .. } => {
                images.windows[node][dispatch].iter().find(|(of, _)| *of == operand).map(|&(_, image)| image)
            }
            _ => return Bound::Buffer(self.operand_span(tape, store, node, operand)),
        };
        let image = image.expect("every image operand was planned");
        Bound::Image(self.pool.images[image].create_view(&Default::default()))
    }

    /// The memory of an operand; for an image operand, the memory that is copied into the image.
    fn operand_span(&self, tape: &Tape, store: &Store, node: usize, operand: Operand) -> Span {
        let recorded = &tape.nodes()[node];
        let input = |i: usize| self.span(tape, store, recorded.inputs[i]);
        let output = |i: usize| self.span(tape, store, recorded.outputs[i]);
        match operand {
            Operand::Input(i) | Operand::InputImage(i) => input(i),
            Operand::Output(i) => output(i),
            Operand::Scratch(i) => {
                let home = self.memory.scratch[node][i];
                let buffer = self.pool.buffers[home].clone();
                Span { buffer, offset: 0, bytes: self.pool.sizes.buffers[home] }
            }
            Operand::InputWindow { input: i, offset, length }
            | Operand::InputWindowImage { input: i, offset, length } => {
                window(input(i), offset, length, tape.info(recorded.inputs[i]).dtype)
            }
            Operand::OutputWindow { output: i, offset, length }
            | Operand::OutputWindowImage { output: i, offset, length } => {
                window(output(i), offset, length, tape.info(recorded.outputs[i]).dtype)
            }
        }
    }
}

/// What is bound to one variable.
enum Bound {
    Buffer(Span),
    Image(wgpu::TextureView),
}

impl Dispatched {
    pub(super) fn record(&self, pass: &mut wgpu::ComputePass<'_>) {
        pass.set_pipeline(&self.pipeline.pipeline);
        pass.set_bind_group(0, &self.group, &[]);
        let [x, y, z] = self.groups;
        pass.dispatch_workgroups(x, y, z);
    }
}

/// The first `elements` f16 values of `bytes`, as f32.
fn f16s(bytes: &[u8], elements: usize) -> Vec<f32> {
    let halves = bytes.chunks_exact(2).map(|pair| half::f16::from_le_bytes([pair[0], pair[1]]));
    halves.take(elements).map(f32::from).collect()
}

pub(super) fn copy_to_image(encoder: &mut wgpu::CommandEncoder, from: &Span, to: &wgpu::Texture) {
    let texel = to.format().block_copy_size(None).expect("a colour has one size");
    let layout = wgpu::TexelCopyBufferLayout {
        offset: from.offset,
        bytes_per_row: Some(to.width() * texel),
        rows_per_image: None,
    };
    let source = wgpu::TexelCopyBufferInfo { buffer: &from.buffer, layout };
    encoder.copy_buffer_to_texture(source, to.as_image_copy(), to.size());
}

fn window(span: Span, offset: usize, length: usize, dtype: DType) -> Span {
    let offset = (offset * dtype.bytes()) as u64;
    assert!(offset.is_multiple_of(super::memory::ALIGNMENT), "a window starts at a multiple of 256 bytes");
    let bytes = padded_bytes(length, dtype).min(span.bytes - offset);
    Span { buffer: span.buffer, offset: span.offset + offset, bytes }
}
