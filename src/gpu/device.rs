//! The open device: limits, traits, buffers, submission, faults.

use super::adapters::choose;
use super::canary::{self, Attempt, Prober, Watched};
use super::submissions::{self, Timeline};
use super::{
    Backend, Candidate, Description, candidates, kept::Kept, pipelines::Listener, pipelines::Pipelines,
};
use crate::fault::{Fault, Kind, Result};
use crate::ops::{Choices, Traits};
use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};

/// How a device is opened.
#[derive(Clone, Debug, Default)]
pub struct OpenOptions {
    /// Adapter index or part of its name; the best one if absent.
    pub device: Option<String>,
    /// The only API to search for adapters; the system's own ones if absent.
    pub backend: Option<Backend>,
    /// Do not use matrix units, nor even ask a driver for them.
    pub no_matrix_units: bool,
    /// Ask software drivers for matrix units too. Only tests do.
    pub software_matrix_units: bool,
    /// Keep the runtime checks (index clamps, loop bounds) in every shader.
    pub checked: bool,
    /// Use no subgroup operations even if the device has them: every kernel runs its plain variant.
    pub plain: bool,
    /// Tries the device in a separate process first. If absent, subgroups and matrix units are tried in this process,
    /// which ends if a driver crashes on them.
    pub prober: Option<Prober>,
}

/// How many objects have been made so far. A training step must not increase any of these counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Buffers and images.
    pub buffers: u64,
    pub pipelines: u64,
    pub bind_groups: u64,
}

/// An open device and its queue.
pub struct Gpu {
    pub(crate) device: wgpu::Device,
    pub(crate) queue: wgpu::Queue,
    pub(super) pipelines: RefCell<Pipelines>,
    /// Compiled pipelines from earlier runs, kept for later ones.
    pub(super) kept: Option<Kept>,
    pub(super) checked: bool,
    /// Called with the progress of slow stages.
    pub(super) listener: RefCell<Option<Listener>>,
    info: wgpu::AdapterInfo,
    pub(super) description: Description,
    limits: wgpu::Limits,
    pub(super) traits: Traits,
    /// Why some of the device's features are not used.
    pub(super) remarks: Vec<String>,
    counters: Cell<Counters>,
    /// Submissions that are not known to be done.
    pub(super) timeline: Arc<Mutex<Timeline>>,
    /// Seconds that a submission may take.
    pub(super) longest: Cell<f64>,
    /// The first error that no scope caught, or why the device was lost.
    failure: Arc<Mutex<Option<Failure>>>,
}

#[derive(Clone, Debug)]
struct Failure {
    message: String,
    memory: bool,
    /// How the device was lost, and a remedy.
    loss: Option<(String, &'static str)>,
}

impl Gpu {
    /// Opens the device that the options name.
    ///
    /// # Errors
    /// [`Kind::Device`] if there is no adapter, none has that name, or the driver refuses; [`Kind::Usage`] if the
    /// environment names an unknown backend.
    pub fn open(options: &OpenOptions) -> Result<Self> {
        let all = candidates(options)?;
        Self::open_candidate(choose(all, options.device.as_deref())?, options)
    }

    /// Opens one adapter of the list and checks which of its features can be used.
    ///
    /// # Errors
    /// [`Kind::Device`] if the driver refuses.
    pub fn open_candidate(candidate: Candidate, options: &OpenOptions) -> Result<Self> {
        let prober = options.prober.as_ref();
        let watched =
            prober.map_or_else(Watched::nothing, |prober| canary::watch(prober, &candidate, options));
        watched.refuse(&candidate.title())?;
        let options = OpenOptions {
            no_matrix_units: options.no_matrix_units || !watched.came_back(Attempt::MatrixUnits),
            plain: options.plain || !watched.came_back(Attempt::Subgroups),
            ..options.clone()
        };
        let (mut gpu, sides) = Self::open_untested(candidate, &options)?;
        gpu.remarks.extend(watched.remark());
        gpu.look_at_subgroups()?;
        gpu.look_at_matrix_units(&sides);
        Ok(gpu)
    }

    /// Opens one adapter without checking its subgroups and matrix units, which are then not used. Also returns the
    /// fragment sides that it lists.
    #[allow(unsafe_code)]
    pub(super) fn open_untested(candidate: Candidate, options: &OpenOptions) -> Result<(Self, Vec<u32>)> {
        let features = candidate.adapter.features() & wanted_features(candidate.software(), options);
        let limits = candidate.adapter.limits();
        let experimental_features = match features.contains(MATRIX_UNITS) {
            // SAFETY: matrix units are used only after they were seen to be right. Experimental features may have
            // unsound corners; the kernels here keep to whole fragments inside workgroup memory.
            true => unsafe { wgpu::ExperimentalFeatures::enabled() },
            false => wgpu::ExperimentalFeatures::disabled(),
        };
        let descriptor = wgpu::DeviceDescriptor {
            label: Some("normfree"),
            required_features: features,
            required_limits: limits.clone(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            experimental_features,
            ..Default::default()
        };
        let (device, queue) =
            pollster::block_on(candidate.adapter.request_device(&descriptor)).map_err(|error| {
                Fault::new(Kind::Device, format!("{} cannot be opened", candidate.title()))
                    .found(error)
                    .remedy("choose another one with --device; `normfree devices` lists them")
            })?;
        let failure = Arc::new(Mutex::new(None));
        let sink = failure.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let memory = matches!(error, wgpu::Error::OutOfMemory { .. });
            note(&sink, Failure { message: error.to_string(), memory, loss: None });
        }));
        let timeline = Arc::new(Mutex::new(Timeline::new()));
        let (sink, under_way) = (failure.clone(), timeline.clone());
        device.set_device_lost_callback(move |reason, message| {
            if reason != wgpu::DeviceLostReason::Destroyed {
                let loss = Some(submissions::loss(submissions::running(&under_way)));
                note(
                    &sink,
                    Failure { message: format!("the device was lost: {message}"), memory: false, loss },
                );
            }
        });
        let software = candidate.software();
        let sides = fragment_sides(&candidate.adapter, &device);
        let description = Description::of(&candidate);
        let kept = crate::cache::folder().and_then(|folder| Kept::open(&device, &candidate.info, &folder));
        let gpu = Self {
            traits: Traits {
                lanes: 0,
                software,
                host: false,
                max_invocations: limits.max_compute_invocations_per_workgroup,
                workgroup_memory: limits.max_compute_workgroup_storage_size,
                max_binding: description.max_binding,
                choices: Choices::default(),
                f16: device.features().contains(wgpu::Features::SHADER_F16),
                cooperative: 0,
                attention_units: false,
                vendor: candidate.vendor(),
            },
            device,
            queue,
            pipelines: RefCell::default(),
            kept,
            checked: options.checked,
            listener: RefCell::default(),
            info: candidate.info,
            remarks: Vec::new(),
            description,
            limits,
            counters: Cell::default(),
            timeline,
            // No watchdog limits the submissions of a driver that runs on the CPU.
            longest: Cell::new(if software { f64::INFINITY } else { submissions::LONGEST }),
            failure,
        };
        Ok((gpu, sides))
    }

    /// What kernels may depend on.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// Sets the variants that every plan built from now on uses to compute ops.
    pub fn set_choices(&mut self, choices: Choices) {
        self.traits.choices = choices;
    }

    /// Makes every plan built from now on choose its kernels as for another device. For tests: kernels meant for a
    /// GPU, or for smaller bindings, can then run without either.
    pub fn pretend(&mut self, change: impl FnOnce(&mut Traits)) {
        change(&mut self.traits);
    }

    /// The adapter's own description.
    pub fn info(&self) -> &wgpu::AdapterInfo {
        &self.info
    }

    /// The adapter as plain data.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// Which of the device's features are not used, and why: one sentence each.
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The limits the device was opened with: all the adapter allows.
    pub fn limits(&self) -> &wgpu::Limits {
        &self.limits
    }

    /// Whether the device reports when a pass begins and ends.
    pub fn has_clock(&self) -> bool {
        self.device.features().contains(wgpu::Features::TIMESTAMP_QUERY)
    }

    /// Objects made so far.
    pub fn counters(&self) -> Counters {
        self.counters.get()
    }

    pub(super) fn count(&self, change: impl FnOnce(&mut Counters)) {
        let mut counters = self.counters.get();
        change(&mut counters);
        self.counters.set(counters);
    }

    /// A zeroed buffer of `bytes`. Faults if the device has no room for it.
    pub(crate) fn buffer(&self, label: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<wgpu::Buffer> {
        if bytes > self.limits.max_buffer_size {
            return Err(Fault::new(
                Kind::Memory,
                format!("the buffer `{label}` is too large for this device"),
            )
            .found(format!("{} needed, {} allowed", mebibytes(bytes), mebibytes(self.limits.max_buffer_size)))
            .remedy("reduce train.batch_size or the size of the model"));
        }
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let descriptor =
            wgpu::BufferDescriptor { label: Some(label), size: bytes, usage, mapped_at_creation: false };
        let buffer = self.device.create_buffer(&descriptor);
        if pollster::block_on(scope.pop()).is_some() {
            return Err(out_of_memory(&format!("the buffer `{label}`"), bytes));
        }
        self.count(|c| c.buffers += 1);
        Ok(buffer)
    }

    /// An image of `width` texels by `height` rows, which is copied into and read by kernels. A texel is four f32, or
    /// four f16 with `half`.
    pub(crate) fn image(&self, width: u32, height: u32, half: bool) -> Result<wgpu::Texture> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let texture = self.device.create_texture(&wgpu::TextureDescriptor {
            label: Some("image"),
            size: wgpu::Extent3d { width, height, depth_or_array_layers: 1 },
            mip_level_count: 1,
            sample_count: 1,
            dimension: wgpu::TextureDimension::D2,
            format: match half {
                false => wgpu::TextureFormat::Rgba32Float,
                true => wgpu::TextureFormat::Rgba16Float,
            },
            usage: wgpu::TextureUsages::COPY_DST | wgpu::TextureUsages::STORAGE_BINDING,
            view_formats: &[],
        });
        if pollster::block_on(scope.pop()).is_some() {
            let bytes = u64::from(width) * u64::from(height) * if half { 8 } else { 16 };
            return Err(out_of_memory("an image", bytes));
        }
        self.count(|c| c.buffers += 1);
        Ok(texture)
    }

    pub(crate) fn bind_group(
        &self,
        layout: &wgpu::BindGroupLayout,
        entries: &[wgpu::BindGroupEntry<'_>],
    ) -> wgpu::BindGroup {
        self.count(|c| c.bind_groups += 1);
        self.device.create_bind_group(&wgpu::BindGroupDescriptor { label: None, layout, entries })
    }

    /// Waits until everything submitted so far is done.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub fn wait(&self) -> Result<()> {
        self.wait_for(None)
    }

    /// Waits for the submission of this number and all before it, or for everything if `None`.
    pub(crate) fn wait_for(&self, submission: Option<u64>) -> Result<()> {
        let mut waited = self.wait_for_sent(submission);
        if submission.is_none() {
            // Buffer writes, too.
            let all = wgpu::PollType::Wait { submission_index: None, timeout: None };
            waited = waited.and_then(|()| self.device.poll(all).map(|_| ()));
        }
        self.check()?;
        waited.map_err(|error| self.lost(&error.to_string()))
    }

    /// Submits the buffer writes so far and waits until their staging memory is free again.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub fn flush(&self) -> Result<()> {
        self.queue.submit([]);
        self.wait()
    }

    /// Lets finished readbacks report, without waiting.
    ///
    /// # Errors
    /// Those of [`Self::check`].
    pub fn poll(&self) -> Result<()> {
        let polled = self.device.poll(wgpu::PollType::Poll);
        self.check()?;
        polled.map(|_| ()).map_err(|error| self.lost(&error.to_string()))
    }

    /// The first failure that happened outside every error scope, if any.
    ///
    /// # Errors
    /// [`Kind::Memory`] if the device ran out of memory, [`Kind::Device`] if it failed in another way.
    pub fn check(&self) -> Result<()> {
        match self.failure.lock().map(|f| f.clone()) {
            Ok(None) => Ok(()),
            Ok(Some(Failure { message, memory: true, .. })) => {
                Err(Fault::new(Kind::Memory, "the device ran out of memory")
                    .found(message)
                    .remedy("reduce train.batch_size or the size of the model"))
            }
            Ok(Some(Failure { message, loss: Some((how, remedy)), .. })) => {
                Err(self.lost(&format!("{message}; {how}")).remedy(remedy))
            }
            Ok(Some(failure)) => Err(self.lost(&failure.message)),
            Err(_) => Err(self.lost("a driver callback panicked")),
        }
    }

    fn lost(&self, message: &str) -> Fault {
        Fault::new(Kind::Device, format!("the device {} failed", self.info.name))
            .found(message)
            .remedy("try again, or choose another --device")
    }

    /// Copies part of a buffer to the host and waits for it. For setup, checkpoints and tests, not for steps.
    pub(crate) fn read(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>> {
        /// Large arenas are copied in pieces, so that they need no second copy.
        const PIECE: u64 = 16 << 20;
        let mut out = Vec::with_capacity(bytes as usize);
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("staging for reading", bytes.min(PIECE), usage)?;
        let mut done = 0;
        while done < bytes {
            let size = (bytes - done).min(PIECE);
            let mut encoder = self.device.create_command_encoder(&Default::default());
            encoder.copy_buffer_to_buffer(buffer, offset + done, &staging, 0, Some(size));
            self.submit(encoder.finish(), 0.0);
            staging.map_async(wgpu::MapMode::Read, 0..size, |_| ());
            self.wait()?;
            let view = staging.get_mapped_range(0..size).map_err(|e| self.lost(&e.to_string()))?;
            out.extend_from_slice(&view);
            drop(view);
            staging.unmap();
            done += size;
        }
        Ok(out)
    }
}

const MATRIX_UNITS: wgpu::Features = wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;

/// Whether a device is asked for matrix units, if its adapter has them. Software adapters are not: a CPU has none to
/// gain from, and Mesa's newer drivers crash when they compile kernels with them.
pub(super) fn asks_for_matrix_units(software: bool, options: &OpenOptions) -> bool {
    let off = std::env::var_os("NORMFREE_NO_MATRIX_UNITS").is_some_and(|value| !value.is_empty());
    let software = software && !options.software_matrix_units;
    !(software || options.plain || options.no_matrix_units || off)
}

/// The features that a device is opened with, if its adapter has them.
fn wanted_features(software: bool, options: &OpenOptions) -> wgpu::Features {
    let mut features =
        wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_F16 | wgpu::Features::PIPELINE_CACHE;
    features.set(wgpu::Features::SUBGROUP, !options.plain);
    features.set(MATRIX_UNITS, asks_for_matrix_units(software, options));
    features
}

/// Sides of the square f16 fragments with f32 sums that an adapter lists, largest first.
fn fragment_sides(adapter: &wgpu::Adapter, device: &wgpu::Device) -> Vec<u32> {
    let needed = MATRIX_UNITS | wgpu::Features::SHADER_F16;
    if !device.features().contains(needed) {
        return Vec::new();
    }
    let mut sides: Vec<u32> = (adapter.cooperative_matrix_properties().into_iter())
        .filter(|p| p.m_size == p.n_size && p.n_size == p.k_size && [8, 16].contains(&p.m_size))
        .filter(|p| p.ab_type == wgpu::CooperativeScalarType::F16)
        .filter(|p| p.cr_type == wgpu::CooperativeScalarType::F32)
        .map(|p| p.m_size)
        .collect();
    sides.sort_unstable_by(|a, b| b.cmp(a));
    sides.dedup();
    sides
}

fn out_of_memory(what: &str, bytes: u64) -> Fault {
    Fault::new(Kind::Memory, format!("the device is out of memory at {what}"))
        .found(format!("{} requested", mebibytes(bytes)))
        .remedy("reduce train.batch_size or the size of the model")
}

fn note(sink: &Mutex<Option<Failure>>, failure: Failure) {
    if let Ok(mut slot) = sink.lock() {
        slot.get_or_insert(failure);
    }
}

/// Bytes, for display.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::{MATRIX_UNITS, OpenOptions, wanted_features};

    #[test]
    fn matrix_units_are_requested_only_from_hardware() {
        let all = OpenOptions::default();
        assert!(!wanted_features(true, &all).contains(MATRIX_UNITS), "software");
        assert!(wanted_features(true, &all).contains(wgpu::Features::SHADER_F16));
        // The variable may be set where the tests run.
        let variable = std::env::var_os("NORMFREE_NO_MATRIX_UNITS").is_none_or(|value| value.is_empty());
        assert_eq!(wanted_features(false, &all).contains(MATRIX_UNITS), variable, "hardware");
        for options in [
            OpenOptions { no_matrix_units: true, ..OpenOptions::default() },
            OpenOptions { plain: true, ..OpenOptions::default() },
        ] {
            assert!(!wanted_features(false, &options).contains(MATRIX_UNITS), "{options:?}");
        }
    }
}
