//! Timings from timestamp queries: replays the plan with one pass per dispatch.

use super::Plan;
use super::replay::{Step, copy_to_image};
use crate::fault::Result;
use crate::gpu::{Gpu, LONGEST, Stopwatch, unwrapped};
use std::ops::Range;

/// The time that one command of a plan took in a replay.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandTime {
    /// The node of the tape that the command belongs to.
    pub node: usize,
    /// The kernel's entry point, on the CPU the op's name; `None` for a copy of a tensor into an image.
    pub entry: Option<&'static str>,
    pub seconds: f64,
    /// Bytes read and written by a copy.
    pub copied: u64,
}

impl Plan {
    /// Replays once without the observers and returns the time of every command, in order. Each command has a pass of its
    /// own, so the sum is slightly above the time of an ordinary replay.
    ///
    /// # Errors
    /// [`crate::fault::Kind::Device`] if the device has no timestamp queries.
    pub fn profile(&self, gpu: &Gpu) -> Result<Vec<CommandTime>> {
        self.profile_steps(gpu, &self.acting())
    }

    /// The same for the observers alone.
    ///
    /// # Errors
    /// As [`Plan::profile`].
    pub fn profile_observing(&self, gpu: &Gpu) -> Result<Vec<CommandTime>> {
        self.profile_steps(gpu, &self.observing)
    }

    fn profile_steps(&self, gpu: &Gpu, ranges: &[Range<usize>]) -> Result<Vec<CommandTime>> {
        let all = ranges.iter().flat_map(|range| range.clone());
        let steps: Vec<(&Step, f64)> = all.map(|i| (&self.steps[i], self.counted[i])).collect();
        let mut times = Vec::with_capacity(steps.len());
        let mut counted = 0.0;
        // Each chunk is one submission, short enough for any watchdog.
        let chunks = steps.chunk_by(|before, next| {
            counted += before.1;
            let full = counted + next.1 > LONGEST;
            if full {
                counted = 0.0;
            }
            !full
        });
        for steps in chunks.flat_map(|chunk| chunk.chunks(Stopwatch::MOST)) {
            let laps = unwrapped(|| {
                let mut watch = Stopwatch::new(gpu, steps.len())?;
                let mut encoder = gpu.device.create_command_encoder(&Default::default());
                for (step, _) in steps {
                    match step {
                        Step::Dispatch(dispatch) => dispatch.record(&mut watch.pass(&mut encoder)),
                        Step::Copy { from, to, .. } => {
                            watch.commands(&mut encoder, |encoder| copy_to_image(encoder, from, to));
                        }
                    }
                }
                watch.stop(encoder)
            })?;
            for ((step, _), seconds) in steps.iter().zip(laps) {
                times.push(match step {
                    Step::Dispatch(dispatch) => {
                        CommandTime { node: dispatch.node, entry: Some(dispatch.entry), seconds, copied: 0 }
                    }
                    Step::Copy { node, from, .. } => {
                        CommandTime { node: *node, entry: None, seconds, copied: 2 * from.bytes }
                    }
                });
            }
        }
        Ok(times)
    }
}
