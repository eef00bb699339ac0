//! What a process removes when told to leave at once: unfinished files and folders.
//!
//! Code that creates one holds a [`Leftover`] for it until it is finished or gone. A signal handler therefore needs no
//! response from a thread that is busy computing, reading or compiling.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Long enough for a thread to finish creating a file.
const MOMENT: Duration = Duration::from_millis(20);

type Undo = Arc<dyn Fn() + Send + Sync>;

struct Registry {
    next: u64,
    /// In order of age.
    undos: BTreeMap<u64, Undo>,
    leaving: bool,
}

/// This lock is held only for looking things up, never for work.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, undos: BTreeMap::new(), leaving: false });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something unfinished, for as long as this is held.
#[derive(Debug)]
#[must_use = "what is dropped counts as whole"]
pub struct Leftover(u64);

impl Leftover {
    /// Marks it as finished; it stays.
    pub fn keep(&self) {
        registry().undos.remove(&self.0);
    }

    /// Something that `undo` removes. `undo` may be called twice, and its failures are not reported.
    pub fn new(undo: impl Fn() + Send + Sync + 'static) -> Self {
        let undo: Undo = Arc::new(undo);
        let mut registry = registry();
        if registry.leaving {
            drop(registry);
            undo();
            wait_for_the_end();
        }
        let number = registry.next;
        registry.next += 1;
        registry.undos.insert(number, undo);
        Self(number)
    }

    /// A file being written.
    pub fn file(path: &Path) -> Self {
        let path = path.to_owned();
        Self::new(move || {
            let _ = std::fs::remove_file(&path);
        })
    }

    /// A folder being filled.
    pub fn folder(path: &Path) -> Self {
        let path = path.to_owned();
        Self::new(move || {
            let _ = std::fs::remove_dir_all(&path);
        })
    }
}

impl Drop for Leftover {
    fn drop(&mut self) {
        self.keep();
    }
}

/// Removes everything unfinished, newest first, for a process that ends right afterwards. Threads that begin something
/// new are halted.
pub fn take_back() {
    let undos: Vec<Undo> = {
        let mut registry = registry();
        registry.leaving = true;
        registry.undos.values().rev().cloned().collect()
    };
    if undos.is_empty() {
        return;
    }
    undos.iter().for_each(|undo| undo());
    // A thread may have been about to write the next file there.
    thread::sleep(MOMENT);
    undos.iter().for_each(|undo| undo());
}

/// Returns at once unless the process is leaving; then it never returns.
pub fn halt_if_leaving() {
    if registry().leaving {
        wait_for_the_end();
    }
}

fn wait_for_the_end() -> ! {
    loop {
        thread::park();
    }
}
