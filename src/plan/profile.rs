//! Per-kernel times from timestamp queries: the plan replayed with one pass per dispatch.

use super::Plan;
use super::replay::{Step, copy_to_image};
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::tape::Tape;
use std::collections::BTreeMap;

/// Time one kernel took in a replay, summed over its dispatches.
#[derive(Clone, Debug, PartialEq)]
pub struct KernelTime {
    /// The op's name and the entry point.
    pub op: &'static str,
    pub entry: &'static str,
    pub dispatches: usize,
    pub seconds: f64,
}

impl Plan {
    /// Replays once with timestamps around every dispatch; the slowest kernel first.
    ///
    /// The passes are apart, so that the sum is a little above the time of an ordinary replay; copies into images
    /// are not in it.
    pub fn profile(&self, gpu: &Gpu, tape: &Tape) -> Result<Vec<KernelTime>> {
        if !gpu.device.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            return Err(Fault::new(Kind::Device, "this device has no timestamp queries")
                .remedy("profile on another --device"));
        }
        /// Steps of one query set; WebGPU allows 4,096 queries in one.
        const STEPS: usize = 2_000;
        let mut times: BTreeMap<(&str, &str), (usize, f64)> = BTreeMap::new();
        for steps in self.steps.chunks(STEPS) {
            let dispatched =
                || steps.iter().filter_map(|step| if let Step::Dispatch(d) = step { Some(d) } else { None });
            let count = (dispatched().count() as u32 * 2).max(2);
            let set = gpu.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count,
            });
            let bytes = u64::from(count) * 8;
            let usage = wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC;
            let resolved = gpu.buffer("timestamps", bytes, usage)?;
            let mut encoder = gpu.device.create_command_encoder(&Default::default());
            let mut i = 0;
            for step in steps {
                let dispatch = match step {
                    Step::Dispatch(dispatch) => dispatch,
                    Step::Copy { from, to } => {
                        copy_to_image(&mut encoder, from, to);
                        continue;
                    }
                };
                let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
                    label: None,
                    timestamp_writes: Some(wgpu::ComputePassTimestampWrites {
                        query_set: &set,
                        beginning_of_pass_write_index: Some(i),
                        end_of_pass_write_index: Some(i + 1),
                    }),
                });
                dispatch.record(&mut pass);
                i += 2;
            }
            encoder.resolve_query_set(&set, 0..count, &resolved, 0);
            gpu.queue.submit([encoder.finish()]);
            let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&gpu.read(&resolved, 0, bytes)?);
            let period = f64::from(gpu.queue.get_timestamp_period()) * 1e-9;
            for (step, pair) in dispatched().zip(ticks.chunks(2)) {
                let slot = times.entry((tape.nodes()[step.node].op.name(), step.entry)).or_default();
                slot.0 += 1;
                slot.1 += pair[1].saturating_sub(pair[0]) as f64 * period;
            }
        }
        let mut times: Vec<KernelTime> = times
            .into_iter()
            .map(|((op, entry), (dispatches, seconds))| KernelTime { op, entry, dispatches, seconds })
            .collect();
        times.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(times)
    }
}
