//! The folder of one training run: configuration, environment, metrics and checkpoints.

use std::fs::{self, File, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::fault::{Fault, Kind, Result};
use crate::files::leftovers::{Leftover, halt_if_leaving};
use crate::files::{self, is_unfinished, names_in};
use crate::shell;

const CONFIG: &str = "config.toml";
const ENVIRONMENT: &str = "env.json";
const METRICS: &str = "metrics.jsonl";
const TOKENIZER: &str = "tokenizer.json";
const CHECKPOINTS: &str = "checkpoints";
const LOCK: &str = "run.lock";

/// What is wrong if another process has the run.
const IN_USE: &str = "the run folder is in use";

/// A run's folder. One that was [created](Self::create) or [opened](Self::open) is locked against other
/// processes until it is dropped or its process ends, however it ends.
#[derive(Debug)]
pub struct RunFolder {
    path: PathBuf,
    /// The system releases the lock when the file is closed, and so also after a kill.
    lock: Option<File>,
    /// Present if the run is new and nothing has been computed in it yet.
    begun: Option<Leftover>,
}

impl RunFolder {
    /// Makes the folder of a new run at `path`, with its parent folders, and locks it. `path` may be an empty folder, or the
    /// folder of a run that ended before it wrote anything.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] if something is already there or another process has it; [`Kind::Io`].
    pub fn create(path: &Path) -> Result<Self> {
        let failed = |e: io::Error| Fault::io("make the run folder", path, &e);
        if path.is_file() {
            return Err(Fault::new(Kind::RunFolder, "the run folder cannot be made")
                .at(path.display())
                .found("a file of that name")
                .remedy("choose another folder with --run"));
        }
        halt_if_leaving();
        fs::create_dir_all(path).map_err(failed)?;
        // Checked before taking the lock, which would add a file to someone's folder, and again after it, because another
        // process may have begun and ended in between.
        refuse_content(path)?;
        let lock = lock(path)?;
        refuse_content(path)?;
        let new = path.to_owned();
        let begun = Some(Leftover::new(move || Self::abandon(&new)));
        let run = Self { path: path.to_owned(), lock: Some(lock), begun };
        fs::create_dir_all(run.checkpoints()).map_err(failed)?;
        files::sync_folder(path).map_err(failed)?;
        Ok(run)
    }

    /// Opens and locks the folder of an existing run to resume it.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] if there is no run at `path` or another process has it; [`Kind::Checkpoint`] if it has trained, and
    /// the folder of its checkpoints is gone; [`Kind::Io`].
    pub fn open(path: &Path) -> Result<Self> {
        let mut run = Self::read(path)?;
        run.lock = Some(lock(path)?);
        for name in names_in(path)? {
            if is_unfinished(&name) {
                // `plot` may be writing there at this moment.
                files::remove_unless_written(&path.join(name))?;
            }
        }
        let checkpoints = run.checkpoints();
        run.refuse_loss(&checkpoints)?;
        fs::create_dir_all(&checkpoints).map_err(|e| Fault::io("make the folder", &checkpoints, &e))?;
        super::checkpoint::tidy(&checkpoints)?;
        Ok(run)
    }

    /// A run that has trained and has lost the folder of its checkpoints is not trained again over its log.
    fn refuse_loss(&self, checkpoints: &Path) -> Result<()> {
        let logged = fs::metadata(self.metrics()).map_or(0, |log| log.len());
        if logged == 0 || checkpoints.exists() {
            return Ok(());
        }
        Err(Fault::new(Kind::Checkpoint, "the run's checkpoints are gone")
            .at(checkpoints.display())
            .found(format!("no such folder, beside a log of {logged} bytes"))
            .remedy("restore the folder, or remove the run to train it again"))
    }

    /// Opens the folder of a run for reading, without locking it: this works while the run trains.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] if there is no run at `path`.
    pub fn read(path: &Path) -> Result<Self> {
        let found = if !path.exists() {
            "nothing there"
        } else if !path.is_dir() {
            "a file"
        } else if !path.join(CONFIG).is_file() {
            "a folder without config.toml"
        } else {
            return Ok(Self { path: path.to_owned(), lock: None, begun: None });
        };
        let fault = Fault::new(Kind::RunFolder, "not the folder of a run").at(path.display());
        Err(match Self::first_inside(path) {
            Some(run) => fault
                .found("a folder with runs in it")
                .remedy(format!("give one run, such as {}", run.display())),
            None => fault.found(found).remedy("give a folder written by `normfree train`"),
        })
    }

    /// The first run, by name, in the folder `path`, which is no run itself.
    fn first_inside(path: &Path) -> Option<PathBuf> {
        let mut inside: Vec<PathBuf> =
            fs::read_dir(path).ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
        inside.retain(|path| Self::is_at(path));
        inside.into_iter().min()
    }

    /// Whether the folder at `path` is that of a run.
    pub fn is_at(path: &Path) -> bool {
        path.join(CONFIG).is_file()
    }

    /// Whether a run could not be created or opened because another process has it.
    pub fn is_in_use(fault: &Fault) -> bool {
        fault.kind == Kind::RunFolder && fault.what() == IN_USE
    }

    /// Which process has the run at `path`, or is about to begin one there; `None` if no process does. Only for looking
    /// from outside: the caller holds the lock for a moment, and could block a run that begins just then.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn holder(path: &Path) -> Result<Option<String>> {
        let place = path.join(LOCK);
        match File::options().read(true).open(&place) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Fault::io("check the run's lock", &place, &e)),
            Ok(mut file) => match file.try_lock_shared() {
                Ok(()) => Ok(None),
                Err(TryLockError::WouldBlock) => Ok(Some(read_holder(&mut file))),
                Err(TryLockError::Error(e)) => Err(Fault::io("check the run's lock", &place, &e)),
            },
        }
    }

    /// From here on, a process that is told to quit keeps the run's folder, because the run can be resumed.
    pub fn keep(&self) {
        self.begun.iter().for_each(Leftover::keep);
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether this process holds the run's lock, and so may write.
    pub fn is_locked(&self) -> bool {
        self.lock.is_some()
    }

    /// The resolved configuration, TOML.
    pub fn config(&self) -> PathBuf {
        self.path.join(CONFIG)
    }

    /// The environment that the run used, JSON.
    pub fn environment(&self) -> PathBuf {
        self.path.join(ENVIRONMENT)
    }

    /// The run's log: one JSON object per line.
    pub fn metrics(&self) -> PathBuf {
        self.path.join(METRICS)
    }

    /// The tokenizer of the run's data.
    pub fn tokenizer(&self) -> PathBuf {
        self.path.join(TOKENIZER)
    }

    /// The folder of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.path.join(CHECKPOINTS)
    }

    /// Removes a new run in which nothing was computed, so that its folder can be used again. Errors are ignored: the
    /// failure that led here is the one to report.
    pub fn abandon(path: &Path) {
        for name in [CONFIG, ENVIRONMENT, METRICS, TOKENIZER, LOCK] {
            let _ = fs::remove_file(path.join(name));
        }
        let _ = fs::remove_dir(path.join(CHECKPOINTS));
        let _ = fs::remove_dir(path);
    }

    /// Writes the resolved configuration. From here on, the folder is a run.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write_config(&self, text: &str) -> Result<()> {
        files::write_atomic(&self.config(), text.as_bytes())
    }

    /// Writes the environment that the run uses.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn write_environment(&self, environment: &Value) -> Result<()> {
        files::write_atomic(&self.environment(), format!("{environment:#}\n").as_bytes())
    }

    /// Keeps a copy of the tokenizer of the run's data.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn keep_tokenizer(&self, json: &[u8]) -> Result<()> {
        if fs::read(self.tokenizer()).is_ok_and(|kept| kept == json) {
            return Ok(());
        }
        files::write_atomic(&self.tokenizer(), json)
    }
}

fn refuse_content(path: &Path) -> Result<()> {
    for name in names_in(path)? {
        let empty_checkpoints =
            || name == CHECKPOINTS && names_in(&path.join(CHECKPOINTS)).is_ok_and(|names| names.is_empty());
        if name == LOCK || is_unfinished(&name) || empty_checkpoints() {
            continue;
        }
        let is_run = path.join(CONFIG).is_file();
        let other = "choose another folder with --run";
        let remedy = match is_run {
            true => format!("resume that run with `{}`, or {other}", shell::resume(path)),
            false => other.to_owned(),
        };
        return Err(Fault::new(Kind::RunFolder, "the run folder already exists")
            .at(path.display())
            .found(if is_run { "a run".to_owned() } else { format!("{name} in it, but no run") })
            .remedy(remedy));
    }
    Ok(())
}

/// Who holds a lock.
fn read_holder(file: &mut File) -> String {
    // Where locks are mandatory (Windows), the process id cannot be read: it is only a courtesy.
    let mut holder = String::new();
    let _ = file.read_to_string(&mut holder);
    match holder.trim() {
        "" => "another process".to_owned(),
        id => format!("process {id}"),
    }
}

/// Takes the lock of the run at `path`, held as long as the file is open.
fn lock(path: &Path) -> Result<File> {
    let place = path.join(LOCK);
    let failed = |e: io::Error| Fault::io("lock the run folder", &place, &e);
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(&place).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(Fault::new(Kind::RunFolder, IN_USE)
                .at(path.display())
                .found(format_args!("{} training in it", read_holder(&mut file)))
                .remedy("wait for it to end, or choose another folder with --run"));
        }
        Err(TryLockError::Error(e)) => {
            return Err(failed(e).remedy("choose a folder on a file system that supports locks, with --run"));
        }
    }
    file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
    Ok(file)
}
