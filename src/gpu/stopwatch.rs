//! Times of single passes, by the device's own clock.

use super::Gpu;
use crate::fault::{Fault, Kind, Result};

/// Takes the time of passes recorded into one command encoder.
pub(crate) struct Stopwatch<'a> {
    gpu: &'a Gpu,
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    laps: u32,
    used: u32,
}

impl<'a> Stopwatch<'a> {
    /// Laps that one stopwatch takes at most: WebGPU allows 4,096 queries in a set.
    pub const MOST: usize = 2_000;

    /// A stopwatch for up to `laps` laps.
    ///
    /// # Errors
    /// [`Kind::Device`] where the device has no timestamp queries.
    pub fn new(gpu: &'a Gpu, laps: usize) -> Result<Self> {
        assert!(laps <= Self::MOST, "{laps} laps are too many for one query set");
        if !gpu.has_clock() {
            return Err(Fault::new(Kind::Device, "this device has no timestamp queries")
                .at(&gpu.description().name)
                .remedy("measure on another --device"));
        }
        let laps = laps.max(1) as u32;
        let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
            label: None,
            ty: wgpu::QueryType::Timestamp,
            count: 2 * laps,
        });
        let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
        let resolved = gpu.buffer("timestamps", u64::from(2 * laps) * 8, usage)?;
        Ok(Self { gpu, set, resolved, laps, used: 0 })
    }

    /// A compute pass that is one lap.
    pub fn pass<'e>(&mut self, encoder: &'e mut wgpu::CommandEncoder) -> wgpu::ComputePass<'e> {
        let first = self.lap();
        self.begin(encoder, Some(first), Some(first + 1))
    }

    /// Commands outside of passes as one lap, between two passes that do nothing.
    pub fn commands(
        &mut self,
        encoder: &mut wgpu::CommandEncoder,
        record: impl FnOnce(&mut wgpu::CommandEncoder),
    ) {
        let first = self.lap();
        drop(self.begin(encoder, Some(first), None));
        record(encoder);
        drop(self.begin(encoder, None, Some(first + 1)));
    }

    /// Submits what was recorded, waits, and returns the seconds of each lap.
    pub fn stop(self, mut encoder: wgpu::CommandEncoder) -> Result<Vec<f64>> {
        encoder.resolve_query_set(&self.set, 0..self.used, &self.resolved, 0);
        self.gpu.queue.submit([encoder.finish()]);
        let bytes = self.gpu.read(&self.resolved, 0, u64::from(self.used) * 8)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(ticks.chunks(2).map(|pair| pair[1].saturating_sub(pair[0]) as f64 * period).collect())
    }

    fn lap(&mut self) -> u32 {
        assert!(self.used < 2 * self.laps, "more laps than the stopwatch was made for");
        let first = self.used;
        self.used += 2;
        first
    }

    fn begin<'e>(
        &self,
        encoder: &'e mut wgpu::CommandEncoder,
        beginning: Option<u32>,
        end: Option<u32>,
    ) -> wgpu::ComputePass<'e> {
        encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: None,
            timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                query_set: &self.set,
                beginning_of_pass_write_index: beginning,
                end_of_pass_write_index: end,
            }),
        })
    }
}
