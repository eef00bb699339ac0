//! The kernels that were measured as the fastest on a device, kept between runs in the user's cache folder.

use super::engine::Blueprint;
use crate::cache;
use crate::cache::attempts::{Attempts, Tried};
use crate::config::Config;
use crate::fault::{Fault, Kind, Result};
use crate::gpu::Gpu;
use crate::ops::{Choices, Traits};
use crate::plan::{Finding, Search, Searched, tune};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::time::Duration;

/// A cache file. Choices are valid for one adapter, its driver, and one version of this program.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Kept {
    version: String,
    adapter: String,
    driver: String,
    lanes: u32,
    choices: Choices,
}

impl Kept {
    fn of(gpu: &Gpu, choices: Choices) -> Self {
        let description = gpu.description();
        Self {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            adapter: format!("{} through {}", description.name, description.api),
            driver: description.driver.clone(),
            lanes: gpu.traits().lanes,
            choices,
        }
    }

    /// The file's path; `None` if there is no cache folder.
    fn path(&self) -> Option<PathBuf> {
        Some(cache::folder()?.join(format!("kernels-{}.json", self.device())))
    }

    /// What the choices are valid for, as a part of the file's name.
    fn device(&self) -> String {
        let Self { version, adapter, driver, lanes, .. } = self;
        cache::words(&format!("{adapter} {driver} {lanes} {version}"))
    }
}

/// How long a variant may take from its source to the end of its first run. The variants measured so far take a few
/// seconds, even on software drivers.
const LIMIT: Duration = Duration::from_secs(180);

/// The result of a search.
pub struct Prepared {
    pub findings: Vec<Finding>,
    /// Variants that were skipped because an earlier start ended while it tried them.
    pub skipped: Vec<Tried>,
    /// The file to delete to have them tried again.
    pub again: Option<PathBuf>,
}

/// What earlier runs found out about this device. An unreadable file counts as no file.
pub fn known(gpu: &Gpu) -> Choices {
    let own = Kept::of(gpu, Choices::default());
    let read = || -> Option<Kept> { serde_json::from_slice(&std::fs::read(own.path()?).ok()?).ok() };
    let mut kept = read().unwrap_or_else(|| Kept::of(gpu, Choices::default()));
    let choices = std::mem::take(&mut kept.choices);
    if kept == own { choices } else { Choices::default() }
}

/// Makes the device use the fastest known kernels for a run, and searches for those that are not known yet and worth it.
/// `again` repeats all searches. Each result is kept as soon as it is found; without a cache folder it is valid for this
/// run only. `overdue` is called, on its own thread, when a driver does not return from a variant: then only ending the
/// process helps, and the next start skips that variant.
///
/// # Errors
/// [`crate::fault::Kind::Memory`] if the device has no room for the run; those of building and running plans.
pub fn prepare(
    gpu: &mut Gpu,
    config: &Config,
    again: bool,
    progress: &mut dyn FnMut(Searched),
    overdue: impl Fn(Fault) + Send + 'static,
) -> Result<Prepared> {
    gpu.set_choices(known(gpu));
    let blueprint = Blueprint::new(config, gpu.traits());
    super::memory::check(&blueprint, gpu.traits(), gpu.description())?;
    let train = &config.train;
    let micro_batches = train.steps * train.gradient_accumulation_steps as u64;
    let tapes = [(&blueprint.micro.tape, micro_batches), (&blueprint.update, train.steps)];
    let mut keep = |gpu: &Gpu| {
        let kept = Kept::of(gpu, gpu.traits().choices.clone());
        if let (Some(path), Ok(text)) = (kept.path(), serde_json::to_vec_pretty(&kept)) {
            cache::keep(&path, &text);
        }
    };
    let mut attempts = attempts(gpu, overdue);
    let mut search = Search { again, thorough: again, progress, keep: &mut keep, attempts: &mut attempts };
    let findings = tune(gpu, &tapes, &mut search)?;
    Ok(Prepared { findings, skipped: attempts.met().to_vec(), again: attempts.file() })
}

/// The record of variants tried on a device. For `overdue` see [`prepare`].
pub fn attempts(gpu: &Gpu, overdue: impl Fn(Fault) + Send + 'static) -> Attempts {
    let device = Kept::of(gpu, Choices::default()).device();
    let mut attempts = Attempts::open(cache::folder().as_deref(), &device);
    let lasts = attempts.file().is_some();
    attempts.limit(LIMIT, Box::new(move |tried| overdue(hung(tried, lasts))));
    attempts
}

/// The fault for a driver that does not return from a variant.
fn hung(Tried { what, how }: &Tried, lasts: bool) -> Fault {
    let remedy = match lasts {
        true => "it is skipped from now on: start again",
        false => "there is no cache folder to record this in: start again with --no-tune",
    };
    Fault::new(Kind::Device, format!("this driver does not return from `{what}` computed with {how}"))
        .found(format!("no answer within {} s", LIMIT.as_secs()))
        .remedy(remedy)
}

/// The choices that affect a blueprint.
pub fn used(blueprint: &Blueprint, traits: &Traits) -> Choices {
    let keys = blueprint.tuning_keys(traits);
    traits.choices.filtered(|key| keys.contains(key))
}
