//! What a process takes back that is told to leave at once: files and folders that are not whole yet.
//!
//! Whoever makes such a thing holds a [`Leftover`] of it until it is whole, or gone. A signal then needs no answer from
//! the thread that is just computing, reading or compiling.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// Time in which a thread that was just making a file has made it.
const MOMENT: Duration = Duration::from_millis(20);

type Undo = Arc<dyn Fn() + Send + Sync>;

struct Registry {
    next: u64,
    /// By age.
    undos: BTreeMap<u64, Undo>,
    leaving: bool,
}

/// Nothing is done under this lock but to look.
static REGISTRY: Mutex<Registry> = Mutex::new(Registry { next: 0, undos: BTreeMap::new(), leaving: false });

fn registry() -> MutexGuard<'static, Registry> {
    REGISTRY.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Something unfinished, as long as this is held.
#[derive(Debug)]
#[must_use = "what is dropped counts as whole"]
pub struct Leftover(u64);

impl Leftover {
    /// It is whole, and stays.
    pub fn keep(&self) {
        registry().undos.remove(&self.0);
    }

    /// Something that `undo` takes back. That may be called twice, and where it fails nobody is told.
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

    /// A file that is being written.
    pub fn file(path: &Path) -> Self {
        let path = path.to_owned();
        Self::new(move || {
            let _ = std::fs::remove_file(&path);
        })
    }

    /// A folder that is being filled.
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

/// Takes back what is unfinished, the newest first, for a process that ends right afterwards: threads that begin
/// something new are halted.
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

/// Returns at once, but where the process is leaving: there it never does.
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
