//! TensorBoard's event files: written beside the run's log, for people who watch the run in TensorBoard.
//!
//! `frame` is the byte layout of such a file, `message` its content. Files are only appended to, and every session of a run
//! begins its own. TensorBoard reads a folder's files in name order, skips a truncated record, and, when a session starts,
//! discards what earlier sessions reported for later steps.

mod frame;
mod message;
mod plugins;

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use prost::Message;

use crate::fault::{Fault, Result};
pub use message::Value;
use message::{Event, What};
pub use plugins::{Layout, Setting, hparams, layout};

/// The prefix of every name. The seconds since 1970 and the number of the session follow.
const PREFIX: &str = "events.out.tfevents.";

/// The first record of a file of this format.
const VERSION: &str = "brain.Event:2";

/// How long a record may stay buffered while others follow.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// The event file of one session of a run.
#[derive(Debug)]
pub struct EventFile {
    path: PathBuf,
    out: BufWriter<File>,
    flushed: Instant,
    framed: Vec<u8>,
}

impl EventFile {
    /// Begins a file in `folder` for a session that starts at `step`. What earlier sessions reported for that step and later
    /// ones no longer counts.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn begin(folder: &Path, step: u64) -> Result<Self> {
        let path = folder.join(next_name(folder)?);
        let file = File::create_new(&path).map_err(|e| Fault::io("begin the event file", &path, &e))?;
        Self::over(path, file, step)
    }

    /// The same over an open, empty file.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn over(path: PathBuf, file: File, step: u64) -> Result<Self> {
        let out = BufWriter::with_capacity(1 << 16, file);
        let mut events = Self { path, out, flushed: Instant::now(), framed: Vec::new() };
        events.write(0, What::FileVersion(VERSION.to_owned()))?;
        events.write(step, What::start())?;
        Ok(events)
    }

    /// Adds the values of a step.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn append(&mut self, step: u64, values: Vec<Value>) -> Result<()> {
        self.write(step, What::summary(values))?;
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// Flushes every record so far to the system, so that others can read it.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.out.flush().map_err(|e| self.failed(&e))
    }

    /// Syncs every record so far to disk.
    ///
    /// # Errors
    /// [`Kind::Io`](crate::fault::Kind::Io).
    pub fn sync(&mut self) -> Result<()> {
        self.flush()?;
        self.out.get_ref().sync_all().map_err(|e| self.failed(&e))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn write(&mut self, step: u64, what: What) -> Result<()> {
        let event = Event { wall_time: seconds_now(), step: step.cast_signed(), what: Some(what) };
        self.framed.clear();
        frame::put(&mut self.framed, &event.encode_to_vec());
        self.out.write_all(&self.framed).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &io::Error) -> Fault {
        Fault::io("write the event file", &self.path, error)
    }
}

/// Whether a file of that name is a run's event file.
pub fn is_event_file(name: &str) -> bool {
    parse(name).is_some()
}

/// The seconds and the session number in a name.
fn parse(name: &str) -> Option<(u64, u64)> {
    let (seconds, number) = name.strip_prefix(PREFIX)?.split_once('.')?;
    Some((seconds.parse().ok()?, number.parse().ok()?))
}

/// A name that sorts after those of all earlier sessions, even if they began in the same second, or while the clock was
/// ahead.
fn next_name(folder: &Path) -> Result<String> {
    let failed = |e: io::Error| Fault::io("list the folder", folder, &e);
    let (mut second, mut session) = (seconds_now() as u64, 0);
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        if let Some((seconds, number)) = parse(&entry.map_err(failed)?.file_name().to_string_lossy()) {
            second = second.max(seconds);
            session = session.max(number.saturating_add(1));
        }
    }
    Ok(format!("{PREFIX}{second:010}.{session:06}"))
}

/// Seconds since 1970.
pub fn seconds_now() -> f64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_session_sorts_later() {
        let folder = tempfile::tempdir().unwrap();
        // A file from a clock that was ahead, and one that is not ours.
        std::fs::write(folder.path().join("events.out.tfevents.9999999999.000007"), "").unwrap();
        std::fs::write(folder.path().join("events.out.tfevents.x"), "").unwrap();
        let mut names = Vec::new();
        for step in 0..12 {
            let events = EventFile::begin(folder.path(), step).unwrap();
            names.push(events.path().file_name().unwrap().to_owned());
        }
        assert_eq!(names[0], "events.out.tfevents.9999999999.000008");
        assert!(names.is_sorted() && names.iter().all(|name| is_event_file(name.to_str().unwrap())));
        assert!(!is_event_file("events.out.tfevents.x") && !is_event_file("metrics.jsonl"));
    }
}
