//! The CPU as a device: the third reader of a tape, beside the GPU's plan and the f64 reference. It computes in f32, on a
//! pool of threads, and needs no driver.

mod memory;
mod plan;

pub use memory::Store;
pub use plan::Plan;

use crate::fault::{Fault, Kind, Result};
use crate::ops::Traits;
use rayon::{ThreadPool, ThreadPoolBuilder};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

/// The word that selects it as a device.
pub const WORD: &str = "cpu";

/// The threads that a device may use, which may become more or fewer while it computes. Clones are one share.
#[derive(Clone, Debug)]
pub struct Share(Arc<AtomicUsize>);

impl Share {
    /// So many threads; as many as this process may use at once with 0.
    pub fn new(threads: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(threads)))
    }

    /// How many they are now.
    pub fn threads(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Adds threads.
    pub fn add(&self, threads: usize) {
        self.0.fetch_add(threads, Ordering::Relaxed);
    }
}

/// The CPU, open as a device.
#[derive(Clone)]
pub struct Host {
    pool: Arc<Mutex<Arc<ThreadPool>>>,
    share: Share,
    traits: Traits,
    name: String,
}

impl Host {
    /// Starts `threads` threads; as many as this process may use at once with 0.
    ///
    /// # Errors
    /// [`Kind::Device`] if the system does not start them.
    pub fn open(threads: usize) -> Result<Self> {
        Self::sharing(&Share::new(threads))
    }

    /// Starts the threads of a share. If it grows or shrinks, others take their place before the next replay.
    ///
    /// # Errors
    /// [`Kind::Device`] if the system does not start them.
    pub fn sharing(share: &Share) -> Result<Self> {
        let pool = start(share.threads())?;
        if share.threads() == 0 {
            share.add(pool.current_num_threads());
        }
        Ok(Self {
            pool: Arc::new(Mutex::new(Arc::new(pool))),
            share: share.clone(),
            traits: Traits::host(),
            name: processor(),
        })
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
        self.pool().current_num_threads()
    }

    /// Runs `work` on one of the threads; parallel iterators in it use all of them.
    pub fn install<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.pool().install(work)
    }

    /// As many threads as the share has now.
    fn pool(&self) -> Arc<ThreadPool> {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the system starts no more, those that there are go on.
        if pool.current_num_threads() != self.share.threads()
            && let Ok(other) = start(self.share.threads())
        {
            *pool = Arc::new(other);
        }
        pool.clone()
    }
}

fn start(threads: usize) -> Result<ThreadPool> {
    let builder = ThreadPoolBuilder::new().num_threads(threads);
    builder
        .thread_name(|i| format!("compute {i}"))
        .build()
        .map_err(|error| Fault::new(Kind::Device, "the threads that compute did not start").found(error))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_that_changes_changes_the_threads() {
        let share = Share::new(1);
        let host = Host::sharing(&share).unwrap();
        assert_eq!(host.install(rayon::current_num_threads), 1);
        share.add(2);
        assert_eq!((host.install(rayon::current_num_threads), host.threads()), (3, 3));
        // As many as there are stay as many.
        let host = Host::open(0).unwrap();
        assert_eq!(host.share.threads(), host.threads());
    }
}
