//! The CPU as a device: the third reader of a tape, beside the GPU's plan and the f64 reference. It computes in f32, on a
//! pool of threads, and needs no driver.

mod memory;
mod plan;

pub use memory::Store;
pub use plan::Plan;

use crate::fault::{Fault, Kind, Result};
use crate::ops::Traits;
use std::sync::Arc;

/// The word that selects it as a device.
pub const WORD: &str = "cpu";

/// The CPU, open as a device.
#[derive(Clone)]
pub struct Host {
    pool: Arc<rayon::ThreadPool>,
    traits: Traits,
    name: String,
}

impl Host {
    /// Starts `threads` threads; as many as this process may use at once with 0.
    ///
    /// # Errors
    /// [`Kind::Device`] if the system does not start them.
    pub fn open(threads: usize) -> Result<Self> {
        let builder = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = builder.thread_name(|i| format!("compute {i}")).build().map_err(|error| {
            Fault::new(Kind::Device, "the threads that compute did not start").found(error)
        })?;
        Ok(Self { pool: Arc::new(pool), traits: Traits::host(), name: processor() })
    }

    /// What recipes and plans may depend on.
    pub fn traits(&self) -> &Traits {
        &self.traits
    }

    /// The processor's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How many threads compute.
    pub fn threads(&self) -> usize {
        self.pool.current_num_threads()
    }

    /// Runs `work` on one of the threads; parallel iterators in it use all of them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool.install(work)
    }
}

/// The processor's name as the system tells it, else its architecture.
fn processor() -> String {
    let told = std::fs::read_to_string("/proc/cpuinfo").ok();
    let named = told.as_deref().and_then(|text| {
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        Some(line.split_once(':')?.1.trim().to_owned())
    });
    named.filter(|name| !name.is_empty()).unwrap_or_else(|| std::env::consts::ARCH.to_owned())
}
