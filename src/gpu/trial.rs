//! One kernel on its own buffers, to find out what a device can do.

use super::{Gpu, Stopwatch, unwrapped};
use crate::fault::Result;
use crate::ops::Kernel;
use std::rc::Rc;
use std::time::Instant;

/// A kernel ready to run.
pub struct Trial<'a> {
    gpu: &'a Gpu,
    pipeline: Rc<super::Pipeline>,
    group: wgpu::BindGroup,
    groups: [u32; 3],
}

/// Device seconds for copying `bytes` from one buffer to another, `repeats` times in a row.
///
/// # Errors
/// [`crate::fault::Kind::Memory`] if there is no room.
pub fn copy_seconds(gpu: &Gpu, bytes: u64, repeats: usize) -> Result<f64> {
    let usage = wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
    let [from, to] = [gpu.buffer("source", bytes, usage)?, gpu.buffer("copy", bytes, usage)?];
    let copy = |encoder: &mut wgpu::CommandEncoder| {
        for _ in 0..repeats {
            encoder.copy_buffer_to_buffer(&from, 0, &to, 0, Some(bytes));
        }
    };
    if gpu.has_clock() {
        let lap = || {
            let mut watch = Stopwatch::new(gpu, 1)?;
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            watch.commands(&mut encoder, copy);
            watch.stop(encoder)
        };
        return Ok(unwrapped(lap)?[0]);
    }
    let start = Instant::now();
    let mut encoder = gpu.device.create_command_encoder(&Default::default());
    copy(&mut encoder);
    let submission = gpu.submit(encoder.finish(), 0.0);
    gpu.wait_for(Some(submission))?;
    Ok(start.elapsed().as_secs_f64())
}

/// Host seconds of one submission.
#[derive(Clone, Copy, Debug)]
pub struct Submission {
    /// Recording alone.
    pub encode: f64,
    /// Recording, submitting and waiting.
    pub whole: f64,
}

impl<'a> Trial<'a> {
    /// Compiles `kernel` and makes a buffer of the given bytes for each of its variables.
    ///
    /// # Errors
    /// [`crate::fault::Kind::Device`] if it does not compile, [`crate::fault::Kind::Memory`] if there is no room.
    pub fn new(gpu: &'a Gpu, kernel: &Kernel, buffers: &[(&str, u64)], groups: [u32; 3]) -> Result<Self> {
        let pipeline = gpu.pipeline(kernel)?;
        let mut made = Vec::new();
        for variable in &pipeline.variables {
            let (name, bytes) = buffers
                .iter()
                .find(|(name, _)| *name == variable.name)
                .unwrap_or_else(|| panic!("no buffer is named `{}`", variable.name));
            made.push((variable.slot, gpu.buffer(name, *bytes, wgpu::BufferUsages::STORAGE)?));
        }
        let entries: Vec<_> = made
            .iter()
            .map(|(slot, buffer)| wgpu::BindGroupEntry {
                binding: *slot,
                resource: buffer.as_entire_binding(),
            })
            .collect();
        let group = gpu.bind_group(&pipeline.layout, &entries);
        Ok(Self { gpu, pipeline, group, groups })
    }

    /// Device seconds of `repeats` dispatches, one after another in one pass. If the device has no clock, host seconds of
    /// the whole submission.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn seconds(&self, repeats: usize) -> Result<f64> {
        if !self.gpu.has_clock() {
            return Ok(self.submit(repeats)?.whole);
        }
        let lap = || {
            let mut watch = Stopwatch::new(self.gpu, 1)?;
            let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
            self.record(&mut watch.pass(&mut encoder), repeats);
            watch.stop(encoder)
        };
        Ok(unwrapped(lap)?[0])
    }

    /// Host seconds of one submission with `repeats` dispatches.
    ///
    /// # Errors
    /// Those of [`Gpu::check`].
    pub fn submit(&self, repeats: usize) -> Result<Submission> {
        let start = Instant::now();
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.record(&mut encoder.begin_compute_pass(&Default::default()), repeats);
        let commands = encoder.finish();
        let encode = start.elapsed().as_secs_f64();
        let submission = self.gpu.submit(commands, 0.0);
        self.gpu.wait_for(Some(submission))?;
        Ok(Submission { encode, whole: start.elapsed().as_secs_f64() })
    }

    fn record(&self, pass: &mut wgpu::ComputePass<'_>, repeats: usize) {
        let [x, y, z] = self.groups;
        for _ in 0..repeats {
            pass.set_pipeline(&self.pipeline.pipeline);
            pass.set_bind_group(0, &self.group, &[]);
            pass.dispatch_workgroups(x, y, z);
        }
    }
}
