//! The log of a run, `metrics.jsonl`: one JSON object per line, append-only.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::{Fault, Kind, Result};
use crate::files::hex;

/// How long a line may stay buffered while others follow.
const FLUSH_EVERY: Duration = Duration::from_secs(1);

/// How far back [`MetricsLog::last_lines`] looks: enough for an evaluation and most texts.
const LAST_LINES: u64 = 1 << 16;

/// The open log of a run.
#[derive(Debug)]
pub struct MetricsLog {
    path: PathBuf,
    out: BufWriter<File>,
    bytes: u64,
    /// The digest of every line so far.
    digest: Sha256,
    flushed: Instant,
    line: Vec<u8>,
}

/// A log that was inspected but has not been changed yet.
#[derive(Debug)]
pub struct FoundLog {
    path: PathBuf,
    file: File,
    bytes: u64,
    digest: Sha256,
    /// Counts over the part that is kept.
    pub tally: Tally,
}

/// Counts that a checkpoint's numbers are checked against.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Records of steps.
    pub steps: u64,
    /// The step of the last such record.
    pub last_step: Option<u64>,
    /// Records of numbers that were not finite.
    pub nonfinite: u64,
}

impl FoundLog {
    /// Inspects the log at `path` as it was when it was `bytes` long.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] if the log is shorter than that or no line ends there; [`Kind::Io`].
    pub fn look(path: &Path, bytes: u64) -> Result<Self> {
        let failed = |e: io::Error| Fault::io("open the run's log", path, &e);
        let file = match File::options().read(true).write(true).create(bytes == 0).open(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound && bytes > 0 => {
                return Err(changed(path, format!("no file, where the checkpoint expects {bytes} bytes")));
            }
            opened => opened.map_err(failed)?,
        };
        let length = file.metadata().map_err(failed)?.len();
        if length < bytes {
            return Err(changed(path, format!("{length} bytes, where the checkpoint expects {bytes}")));
        }
        let (mut digest, mut tally, mut line) = (Sha256::new(), Tally::default(), Vec::new());
        let mut lines = BufReader::with_capacity(1 << 18, (&file).take(bytes));
        while lines.read_until(b'\n', &mut line).map_err(failed)? > 0 {
            if line.last() != Some(&b'\n') {
                return Err(changed(
                    path,
                    format!("no end of a line at byte {bytes}, where the checkpoint expects one"),
                ));
            }
            digest.update(&line);
            tally.count(&line);
            line.clear();
        }
        Ok(Self { path: path.to_owned(), file, bytes, digest, tally })
    }

    /// SHA-256 of the part that is kept.
    pub fn sha256(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// The fault for a log that differs from what a checkpoint says.
    pub fn changed(&self, found: String) -> Fault {
        changed(&self.path, found)
    }

    /// Cuts off what a later part of the run wrote, so that a resumed run writes it again and the log reads as if it had
    /// never stopped.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn open(self) -> Result<MetricsLog> {
        let Self { path, mut file, bytes, digest, .. } = self;
        file.set_len(bytes)
            .and_then(|()| file.seek(SeekFrom::Start(bytes)))
            .map_err(|e| Fault::io("open the run's log", &path, &e))?;
        let out = BufWriter::with_capacity(1 << 16, file);
        Ok(MetricsLog { path, out, bytes, digest, flushed: Instant::now(), line: Vec::new() })
    }
}

impl Tally {
    /// Counts a line. Lines of unknown kinds do not count.
    fn count(&mut self, line: &[u8]) {
        #[derive(Deserialize)]
        struct Line {
            kind: String,
            step: u64,
        }
        match serde_json::from_slice::<Line>(line) {
            Ok(Line { kind, step }) if kind == "step" => {
                self.steps += 1;
                self.last_step = Some(step);
            }
            Ok(Line { kind, .. }) if kind == "nonfinite" => self.nonfinite += 1,
            _ => {}
        }
    }
}

impl MetricsLog {
    /// Opens the log at `path` as it was when it was `bytes` long: later lines are cut off. With 0 the log is new.
    ///
    /// # Errors
    /// Those of [`FoundLog::look`] and [`FoundLog::open`].
    pub fn open(path: &Path, bytes: u64) -> Result<Self> {
        FoundLog::look(path, bytes)?.open()
    }

    /// Adds `record` as one line.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn append<T: Serialize>(&mut self, record: &T) -> Result<()> {
        self.line.clear();
        let written = serde_json::to_writer(&mut self.line, record).map_err(io::Error::from);
        self.line.push(b'\n');
        written.and_then(|()| self.out.write_all(&self.line)).map_err(|e| self.failed(&e))?;
        self.bytes += self.line.len() as u64;
        self.digest.update(&self.line);
        if self.flushed.elapsed() >= FLUSH_EVERY {
            self.flush()?;
        }
        Ok(())
    }

    /// Flushes every line so far to the system, so that others can read it.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.out.flush().map_err(|e| self.failed(&e))
    }

    /// Syncs every line so far to disk and returns the length of the log, in bytes: a checkpoint's `metrics_bytes`.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn sync(&mut self) -> Result<u64> {
        self.flush()?;
        self.out.get_ref().sync_all().map_err(|e| self.failed(&e))?;
        Ok(self.bytes)
    }

    /// SHA-256 of every line so far.
    pub fn sha256(&self) -> String {
        hex(&self.digest.clone().finalize())
    }

    /// The last lines when the log was opened, without their line ends: those that lie whole in its last 64 KiB.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn last_lines(&self) -> Result<Vec<Vec<u8>>> {
        let mut tail = Vec::new();
        let from = self.bytes.saturating_sub(LAST_LINES);
        let read = File::open(&self.path).and_then(|mut file| {
            file.seek(SeekFrom::Start(from))?;
            file.take(self.bytes - from).read_to_end(&mut tail)
        });
        read.map_err(|e| Fault::io("read the run's log", &self.path, &e))?;
        let Some(lines) = tail.strip_suffix(b"\n") else { return Ok(Vec::new()) };
        // The first may have lost its beginning.
        let cut = usize::from(from > 0);
        Ok(lines.split(|&byte| byte == b'\n').skip(cut).map(<[u8]>::to_vec).collect())
    }

    fn failed(&self, error: &io::Error) -> Fault {
        Fault::io("write the run's log", &self.path, error)
    }
}

fn changed(path: &Path, found: String) -> Fault {
    Fault::new(Kind::RunFolder, "the run's log has changed since its checkpoint")
        .at(path.display())
        .found(found)
        .remedy("restore it, or start a new run with train.init_from = the checkpoint's model.safetensors")
}
