//! What a step costs the host, apart from the device.

use super::engine::{Bench, random_batches};
use super::spread::Spread;
use crate::config::Config;
use crate::fault::Result;
use crate::train::engine::Blueprint;
use serde::Serialize;
use std::time::Instant;

/// Host seconds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Host {
    /// Writing a step's inputs, recording its commands and submitting them.
    pub record: Spread,
    /// A whole step, including the device's work.
    pub step: Spread,
    /// Preparing a step's micro-batches: targets, and positions sorted by token.
    pub batches: Spread,
    /// Recording and planning the tapes of a run; once per run.
    pub tapes: Spread,
    /// From an open device to the end of the first step, including drivers' compilation; once per run.
    pub start: f64,
}

/// Times the host's part of a step, `rounds` times.
pub(crate) fn host(bench: &mut Bench, config: &Config, rounds: usize, start: f64) -> Result<Host> {
    let time = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
        let start = Instant::now();
        work()?;
        Ok(start.elapsed().as_secs_f64())
    };
    let (mut record, mut step, mut batches, mut tapes) = (vec![], vec![], vec![], vec![]);
    for _ in 0..rounds {
        let begin = Instant::now();
        let done = bench.done;
        record.push(time(&mut || bench.engine.submit(done, done, 1e-5, &bench.batches))?);
        bench.done += 1;
        bench.engine.take(true)?;
        step.push(begin.elapsed().as_secs_f64());
        batches.push(time(&mut || {
            std::hint::black_box(random_batches(config));
            Ok(())
        })?);
        tapes.push(time(&mut || {
            let traits = bench.engine.device.traits();
            std::hint::black_box(Blueprint::new(config, traits).demand(traits));
            Ok(())
        })?);
    }
    let [record, step, batches, tapes] = [record, step, batches, tapes].map(|samples| Spread::of(&samples));
    Ok(Host { record, step, batches, tapes, start })
}
