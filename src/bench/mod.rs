//! What a device can do, what a training step demands of it, and how far apart the two are.
//!
//! Everything is measured in one run: ceilings first, then every kernel at the shapes of a configuration, then whole
//! steps, always in turns with what they are compared with. Numbers are medians. Anything not measured is omitted.

pub mod adapter;
mod ceilings;
mod cpu;
mod engine;
mod host;
mod kernels;
pub mod products;
mod spread;
mod steps;

pub use ceilings::{Ceilings, Start};
pub use host::Host;
pub use kernels::{Bound, KernelRow};
pub use spread::Spread;
pub use steps::{Difference, Pair, StepRow, Steps};

use crate::config::Config;
use crate::device::Device;
use crate::fault::Result;
use crate::gpu::Description;
use crate::model::parameter_count;
use crate::ops::Choices;
use engine::Bench;
use serde::Serialize;
use std::fmt;
use std::time::Instant;

/// What can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Part {
    /// Arithmetic, copies, and what it costs to start work
    Ceilings,
    /// Every kernel of a step
    Kernels,
    /// Whole steps
    Steps,
    /// The host's part of a step
    Host,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ceilings => "the device's ceilings",
            Self::Kernels => "every kernel of a step",
            Self::Steps => "whole steps",
            Self::Host => "the host's part",
        })
    }
}

/// How to measure.
pub struct Options<'a> {
    /// Opens the device anew for each part.
    pub open: &'a dyn Fn() -> Result<Device>,
    /// The kernels to use.
    pub choices: Choices,
    pub parts: Vec<Part>,
    /// Ceilings that are known, and not measured again.
    pub ceilings: Option<Ceilings>,
    /// What to compare whole steps in; everything if empty.
    pub differences: Vec<Difference>,
    /// Turns of each measurement.
    pub rounds: usize,
}

/// The measurements; parts that were not requested are absent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    pub version: &'static str,
    pub adapter: Description,
    pub config: Config,
    /// The kernels chosen by measurement, among all that this device has.
    pub choices: Choices,
    pub parameters: u64,
    /// Tokens of one step.
    pub tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ceilings: Option<Ceilings>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kernels: Option<Vec<KernelRow>>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub steps: Option<Steps>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host: Option<Host>,
}

/// Measures `config` on a device, part by part; `begin` is called with each part.
///
/// # Errors
/// Errors of opening the device and building the configuration's plans; [`crate::fault::Kind::Device`] if kernels are
/// requested and the device has no timestamp queries.
pub fn measure(options: &Options<'_>, config: &Config, begin: &mut dyn FnMut(Part)) -> Result<Measured> {
    let open = || {
        let mut device = (options.open)()?;
        device.set_choices(options.choices.clone());
        Ok(device)
    };
    let mut measured = Measured {
        version: env!("CARGO_PKG_VERSION"),
        adapter: open()?.description().clone(),
        config: config.clone(),
        choices: options.choices.clone(),
        parameters: parameter_count(&config.model) as u64,
        tokens: config.train.tokens_per_step(),
        ceilings: options.ceilings.clone(),
        kernels: None,
        steps: None,
        host: None,
    };
    let wanted = |part: Part| options.parts.contains(&part);
    // Kernels are compared with the ceilings.
    if measured.ceilings.is_none() && (wanted(Part::Ceilings) || wanted(Part::Kernels)) {
        begin(Part::Ceilings);
        measured.ceilings = Some(match open()? {
            Device::Gpu(gpu) => adapter::ceilings(&gpu)?,
            Device::Host(host, _) => cpu::ceilings(&host),
        });
    }
    if wanted(Part::Kernels) || wanted(Part::Host) {
        let device = open()?;
        let start = Instant::now();
        let mut bench = Bench::new(device, config)?;
        let start = start.elapsed().as_secs_f64();
        if let (true, Some(ceilings)) = (wanted(Part::Kernels), &measured.ceilings) {
            begin(Part::Kernels);
            measured.kernels = Some(kernels::kernels(&bench, ceilings, options.rounds)?);
        }
        if wanted(Part::Host) {
            begin(Part::Host);
            measured.host = Some(host::host(&mut bench, config, options.rounds, start)?);
        }
    }
    if wanted(Part::Steps) {
        begin(Part::Steps);
        let ceilings = measured.ceilings.as_ref();
        measured.steps = Some(steps::steps(&open, config, ceilings, options.rounds, &options.differences)?);
    }
    Ok(measured)
}

/// Seconds of one step of a configuration: the median of a few, not counting the one that compiles.
///
/// # Errors
/// Errors of building and running the configuration's plans.
pub fn step_seconds(device: impl Into<Device>, config: &Config) -> Result<f64> {
    const STEPS: usize = 5;
    let mut bench = Bench::new(device, config)?;
    let mut samples = Vec::new();
    for _ in 0..STEPS {
        let start = Instant::now();
        bench.run(1)?;
        samples.push(start.elapsed().as_secs_f64());
    }
    Ok(Spread::of(&samples).median)
}
