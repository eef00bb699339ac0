//! Notes of what is being tried on a driver. A note is written and synced before each attempt and erased after it. If
//! the driver kills the process or the whole machine in between, the next start finds the note and skips what it names.
//!
//! Each process has its own note and holds a lock on it, which the system releases however the process ends. A note
//! that can be locked therefore belongs to a dead process.

use super::keep;
use crate::files::{leftovers::Leftover, sync_folder};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One thing that was tried: what is computed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    pub what: String,
    pub how: String,
}

/// The attempts of one process on one device.
pub struct Attempts {
    lasting: Option<Lasting>,
    skipped: Vec<Tried>,
    /// Skipped attempts that this process found in a note or was asked for.
    met: Vec<Tried>,
    note: Option<Note>,
    watchdog: Option<Arc<Watchdog>>,
}

/// Called from its own thread with an attempt that exceeded the limit.
pub type Overdue = Box<dyn Fn(&Tried) + Send>;

impl Attempts {
    /// Opens the notes for the device `name` in `folder`; without a folder, nothing outlives the process. Attempts that
    /// dead processes left in their notes are skipped from now on.
    pub fn open(folder: Option<&Path>, device: &str) -> Self {
        let lasting = folder.map(|folder| Lasting { folder: folder.to_owned(), device: device.to_owned() });
        let (skipped, met) = lasting.as_ref().map_or_else(Default::default, |lasting| {
            let met = lasting.gather();
            (lasting.list(), met)
        });
        Self { lasting, skipped, met, note: None, watchdog: None }
    }

    /// Sets a limit on every attempt from now on. Later starts skip an attempt that exceeds `limit`, and `overdue` is
    /// called once: nothing can unblock a hung driver.
    pub fn limit(&mut self, limit: Duration, overdue: Overdue) {
        let watchdog = Arc::new(Watchdog { limit, state: Mutex::default(), changed: Condvar::new() });
        let (watching, lasting) = (watchdog.clone(), self.lasting.clone());
        thread::spawn(move || {
            let Some(tried) = watching.watch() else { return };
            if let Some(lasting) = lasting {
                lasting.skip(&tried);
            }
            overdue(&tried);
        });
        self.watchdog = Some(watchdog);
    }

    /// Whether the attempt is skipped.
    pub fn skips(&mut self, what: &str, how: &str) -> bool {
        let found = self.skipped.iter().find(|tried| tried.what == what && tried.how == how);
        if let Some(found) = found.filter(|found| !self.met.contains(found)) {
            self.met.push(found.clone());
        }
        found.is_some()
    }

    /// What this process skipped, or found in a note to skip from now on.
    pub fn met(&self) -> &[Tried] {
        &self.met
    }

    /// The file to delete to have everything tried again; `None` if nothing is stored.
    pub fn file(&self) -> Option<PathBuf> {
        self.lasting.as_ref().map(Lasting::path)
    }

    /// Notes that an attempt starts. If the note cannot be written, the attempt goes ahead all the same.
    pub fn begin(&mut self, what: &str, how: &str) {
        let tried = Tried { what: what.to_owned(), how: how.to_owned() };
        if self.note.is_none() {
            self.note = self.lasting.as_ref().and_then(|lasting| lasting.note().ok());
        }
        if let Some(note) = &mut self.note {
            let _ = note.write(&tried);
        }
        self.tell(State::Running(Instant::now(), tried));
    }

    /// Notes that the driver came back from the attempt.
    pub fn end(&mut self) {
        self.tell(State::Idle);
        if let Some(note) = &mut self.note {
            let _ = note.file.set_len(0);
        }
    }

    /// Notes that the driver came back but failed: later starts skip the latest attempt.
    pub fn blame(&mut self, what: &str, how: &str) {
        let tried = Tried { what: what.to_owned(), how: how.to_owned() };
        if let Some(lasting) = &self.lasting {
            lasting.skip(&tried);
        }
        self.skipped.push(tried);
        self.end();
    }

    fn tell(&self, state: State) {
        if let Some(watchdog) = &self.watchdog {
            *watchdog.state() = state;
            watchdog.changed.notify_one();
        }
    }
}

impl Drop for Attempts {
    fn drop(&mut self) {
        self.tell(State::Over);
        if let Some(note) = &self.note {
            let _ = std::fs::remove_file(&note.path);
        }
    }
}

/// The folder of a device's notes.
#[derive(Clone, Debug)]
struct Lasting {
    folder: PathBuf,
    device: String,
}

impl Lasting {
    /// The list of skipped attempts.
    fn path(&self) -> PathBuf {
        self.folder.join(format!("passed-over-{}.json", self.device))
    }

    /// An unreadable file counts as empty.
    fn list(&self) -> Vec<Tried> {
        let read = || serde_json::from_slice(&std::fs::read(self.path()).ok()?).ok();
        read().unwrap_or_default()
    }

    fn skip(&self, tried: &Tried) {
        let mut list = self.list();
        if list.contains(tried) {
            return;
        }
        list.push(tried.clone());
        if let Ok(text) = serde_json::to_vec_pretty(&list) {
            keep(&self.path(), &text);
        }
    }

    fn prefix(&self) -> String {
        format!("trying-{}.", self.device)
    }

    /// Takes over the attempts that dead processes left in their notes.
    fn gather(&self) -> Vec<Tried> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            if !entry.file_name().to_string_lossy().starts_with(&self.prefix()) {
                continue;
            }
            let Ok(mut file) = File::options().read(true).write(true).open(entry.path()) else { continue };
            if file.try_lock().is_err() {
                continue;
            }
            let mut text = Vec::new();
            if file.read_to_end(&mut text).is_ok()
                && let Ok(tried) = serde_json::from_slice(&text)
            {
                self.skip(&tried);
                found.push(tried);
            }
            let _ = std::fs::remove_file(entry.path());
        }
        found
    }

    /// This process's note, created empty and locked before any other process can find it.
    fn note(&self) -> io::Result<Note> {
        std::fs::create_dir_all(&self.folder)?;
        let (file, beside) =
            tempfile::Builder::new().prefix(".trying").tempfile_in(&self.folder)?.into_parts();
        file.try_lock()?;
        let own = beside.file_name().unwrap_or_default().to_string_lossy().replace('.', "");
        let path = self.folder.join(format!("{}{own}", self.prefix()));
        beside.persist(&path).map_err(|error| error.error)?;
        sync_folder(&self.folder)?;
        // A process that is told to leave has not crashed.
        let leftover = Leftover::file(&path);
        Ok(Note { file, path, _leftover: leftover })
    }
}

struct Note {
    file: File,
    path: PathBuf,
    _leftover: Leftover,
}

impl Note {
    fn write(&mut self, tried: &Tried) -> io::Result<()> {
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&serde_json::to_vec(tried)?)?;
        self.file.sync_all()
    }
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Idle,
    /// Since this time.
    Running(Instant, Tried),
    Over,
}

struct Watchdog {
    limit: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

impl Watchdog {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The attempt that exceeded the limit, if any.
    fn watch(&self) -> Option<Tried> {
        let mut state = self.state();
        loop {
            let left = match &*state {
                State::Over => return None,
                State::Idle => Duration::MAX,
                State::Running(since, tried) => match self.limit.checked_sub(since.elapsed()) {
                    Some(left) if !left.is_zero() => left,
                    _ => return Some(tried.clone()),
                },
            };
            // The longest wait that every system accepts.
            let left = left.min(Duration::from_secs(3600));
            state = self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    fn notes(folder: &Path) -> usize {
        std::fs::read_dir(folder).unwrap().filter(|e| note(&e.as_ref().unwrap().path())).count()
    }

    fn note(path: &Path) -> bool {
        path.file_name().unwrap().to_str().unwrap().starts_with("trying-")
    }

    #[test]
    fn an_attempt_that_ends_the_process_is_skipped_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let open = || Attempts::open(Some(folder.path()), "card");
        let mut crashed = open();
        crashed.begin("product", "tiles");
        crashed.end();
        crashed.begin("product", "units");
        // A living process's note is left alone.
        let mut other = open();
        assert!(!other.skips("product", "units"));
        // As when the process dies: nothing is dropped, only the lock is released.
        let path = crashed.note.as_ref().unwrap().path.clone();
        crashed.note.as_ref().unwrap().file.unlock().unwrap();
        std::mem::forget(crashed);
        let mut next = open();
        assert!(next.skips("product", "units") && !next.skips("product", "tiles"));
        let tried = Tried { what: "product".to_owned(), how: "units".to_owned() };
        assert_eq!(next.met(), [tried]);
        assert!(!path.exists(), "the note is taken over");
        // Later starts skip it as well; other devices do not.
        assert!(open().skips("product", "units"));
        assert!(!Attempts::open(Some(folder.path()), "other").skips("product", "units"));
        std::fs::remove_file(next.file().unwrap()).unwrap();
        assert!(!open().skips("product", "units"), "it is tried again");
    }

    #[test]
    fn a_process_that_ends_in_order_leaves_no_note() {
        let folder = tempfile::tempdir().unwrap();
        let mut attempts = Attempts::open(Some(folder.path()), "card");
        attempts.begin("product", "tiles");
        assert_eq!(notes(folder.path()), 1);
        drop(attempts);
        assert_eq!(notes(folder.path()), 0);
        assert!(!Attempts::open(Some(folder.path()), "card").skips("product", "tiles"));
        // An incomplete note names nothing.
        std::fs::write(folder.path().join("trying-card.x"), "{\"what\":\"pro").unwrap();
        assert_eq!(Attempts::open(Some(folder.path()), "card").met(), []);
        assert_eq!(notes(folder.path()), 0);
    }

    #[test]
    fn an_overdue_attempt_is_reported_and_skipped_afterwards() {
        let folder = tempfile::tempdir().unwrap();
        let mut attempts = Attempts::open(Some(folder.path()), "card");
        let (tell, told) = channel();
        let tell = move |tried: &Tried| tell.send(tried.how.clone()).unwrap();
        attempts.limit(Duration::from_millis(300), Box::new(tell));
        for _ in 0..3 {
            attempts.begin("product", "tiles");
            thread::sleep(Duration::from_millis(120));
            attempts.end();
        }
        assert!(told.try_recv().is_err(), "each is in time");
        attempts.begin("product", "units");
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).as_deref(), Ok("units"));
        assert!(Attempts::open(Some(folder.path()), "card").skips("product", "units"));
        // Without a folder, overdue attempts are still reported.
        let mut attempts = Attempts::open(None, "card");
        let (tell, told) = channel();
        attempts.limit(Duration::ZERO, Box::new(move |tried| tell.send(tried.how.clone()).unwrap()));
        attempts.begin("product", "units");
        assert_eq!(told.recv_timeout(Duration::from_secs(20)).as_deref(), Ok("units"));
        assert_eq!(attempts.file(), None);
    }
}
