//! Times single passes with the device's own clock.

use super::Gpu;
use crate::fault::{Fault, Kind, Result};

/// Times passes recorded into one command encoder.
pub(crate) struct Stopwatch<'a> {
    gpu: &'a Gpu,
    set: wgpu::QuerySet,
    resolved: wgpu::Buffer,
    laps: u32,
    used: u32,
}

impl<'a> Stopwatch<'a> {
    /// The most laps of one stopwatch: WebGPU allows 4,096 queries in a set.
    pub const MOST: usize = 2_000;

    /// A stopwatch for up to `laps` laps.
    ///
    /// # Errors
    /// [`Kind::Device`] if the device has no timestamp queries.
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

    /// Begins a compute pass that is one lap.
    pub fn pass<'e>(&mut self, encoder: &'e mut wgpu::CommandEncoder) -> wgpu::ComputePass<'e> {
        let first = self.lap();
        self.begin(encoder, Some(first), Some(first + 1))
    }

    /// Records commands outside passes as one lap, between two empty passes.
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

    /// Submits what was recorded, waits, and returns the seconds of each lap; NaN if the clock wrapped during it.
    ///
    /// # Errors
    /// Those of [`Gpu::check`]; [`Kind::Device`] if the times cannot be read back.
    pub fn stop(self, mut encoder: wgpu::CommandEncoder) -> Result<Vec<f64>> {
        encoder.resolve_query_set(&self.set, 0..self.used, &self.resolved, 0);
        self.gpu.submit(encoder.finish(), 0.0);
        let bytes = self.gpu.read(&self.resolved, 0, u64::from(self.used) * 8)?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(self.gpu.queue.get_timestamp_period()) * 1e-9;
        Ok(ticks.chunks(2).map(|pair| lap_seconds(pair[0], pair[1], period)).collect())
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

/// Seconds between two clock readings; NaN if they would be negative, since the clock has then wrapped.
fn lap_seconds(begin: u64, end: u64, period: f64) -> f64 {
    end.checked_sub(begin).map_or(f64::NAN, |ticks| ticks as f64 * period)
}

/// The laps of a measurement, which is repeated if the clock wrapped.
///
/// # Errors
/// Those of `measure`; [`Kind::Device`] if the clock runs backwards each time.
pub(crate) fn unwrapped(mut measure: impl FnMut() -> Result<Vec<f64>>) -> Result<Vec<f64>> {
    for _ in 0..3 {
        let laps = measure()?;
        if !laps.iter().any(|seconds| seconds.is_nan()) {
            return Ok(laps);
        }
    }
    Err(Fault::new(Kind::Device, "the clock of this device runs backwards")
        .remedy("measure on another --device"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_wraps_gives_no_time() {
        assert_eq!(lap_seconds(10, 30, 1e-9), 2e-8);
        assert_eq!(lap_seconds(30, 30, 1e-9), 0.0);
        // 36 bits, as on Intel: from just before the end to just after the beginning.
        assert!(lap_seconds((1 << 36) - 5, 7, 1e-9).is_nan());
    }

    #[test]
    fn a_lap_in_which_the_clock_wrapped_is_taken_again() {
        let laps = |said: &[[f64; 2]]| {
            let mut said = said.iter();
            unwrapped(|| Ok(said.next().expect("taken three times at most").to_vec()))
        };
        assert_eq!(laps(&[[1.0, 0.0]]).unwrap(), [1.0, 0.0]);
        assert_eq!(laps(&[[1.0, f64::NAN], [2.0, 3.0]]).unwrap(), [2.0, 3.0]);
        assert_eq!(laps(&[[f64::NAN, 1.0]; 3]).unwrap_err().kind, Kind::Device);
    }
}
