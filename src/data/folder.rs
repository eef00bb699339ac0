//! A prepared folder as a place: who may write it, and how four files are replaced as one.
//!
//! All four are written and brought to the disk in a folder within (`.prepare-….part`). It is then renamed to
//! [`COMMITTED`]: from that moment on the data are the new ones, for every reader looks there first. Last the files move
//! up, each over the old one of its name. So at any moment, whoever is killed, either the old data or the new are whole,
//! and the next `prepare` in that folder finishes or removes what one that was killed left.

use std::fs::{self, File, TryLockError};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use same_file::Handle;
use tempfile::TempDir;

use super::meta::Meta;
use super::place::{COMMITTED, OURS, locate};
use crate::fault::{Fault, Kind, Result};
use crate::files::leftovers::{Leftover, halt_if_leaving};
use crate::files::sync_folder;

/// There is a process that prepares data in the folder.
const LOCK: &str = ".prepare.lock";
/// What is being written.
const PREFIX: &str = ".prepare-";
const SUFFIX: &str = ".part";

/// What is wrong where another process has the folder.
const IN_USE: &str = "the output folder is in use";

/// Which files are the data of a folder at a moment; two that are equal say that nothing was replaced between them.
#[derive(Debug, PartialEq)]
pub struct Moment {
    places: [PathBuf; 4],
    meta: Option<(std::time::SystemTime, u64)>,
}

impl Moment {
    /// Looks at `folder` now.
    pub fn of(folder: &Path) -> Self {
        let places = OURS.map(|name| locate(folder, name));
        let meta = fs::metadata(&places[3]).and_then(|meta| Ok((meta.modified()?, meta.len()))).ok();
        Self { places, meta }
    }
}

/// New data that are being written.
#[derive(Debug)]
pub struct New {
    folder: TempDir,
    leftover: Leftover,
}

impl New {
    /// Where a file of the new data is to be written.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A folder that this process may fill, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Owned {
    path: PathBuf,
    lock: File,
}

impl Owned {
    /// Takes the folder `path`, which there must be. Nothing in it is changed but for the lock.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] where another process has it; [`Kind::Usage`] where it holds anything else than prepared
    /// data, or such data without `replace`; [`Kind::Io`].
    pub fn take(path: &Path, replace: bool) -> Result<Self> {
        // Before the lock, which would be one more file in somebody's folder; and after it, because another
        // process can have begun and ended in between.
        refuse_others(path)?;
        let owned = Self { path: path.to_owned(), lock: lock(path)? };
        refuse_others(path)?;
        if !replace {
            refuse_data(path)?;
        }
        Ok(owned)
    }

    /// Finishes and removes what processes that were killed left.
    pub fn tidy(&self) -> Result<()> {
        self.finish()?;
        let io = |e: std::io::Error| Fault::io("list the folder", &self.path, &e);
        for entry in fs::read_dir(&self.path).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
                let path = entry.path();
                let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
                let removed = if is_folder { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
                removed.map_err(|e| Fault::io("remove what an earlier call left", &path, &e))?;
            }
        }
        Ok(())
    }

    /// Begins new data: a folder within this one, gone when it is dropped, or when the process is told to leave.
    pub fn begin(&self) -> Result<New> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // A temporary folder is its owner's alone; this one is to be read by others, under the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let folder =
            builder.tempdir_in(&self.path).map_err(|e| Fault::io("make a folder", &self.path, &e))?;
        let leftover = Leftover::folder(folder.path());
        Ok(New { folder, leftover })
    }

    /// Makes the four files in `new`, whole and on the disk, the data of this folder.
    pub fn commit(&self, New { folder: new, leftover }: New) -> Result<()> {
        self.finish()?;
        let io = |e: std::io::Error| Fault::io("replace the data", &self.path, &e);
        sync_folder(new.path()).map_err(io)?;
        // Either nobody removes it from here on, or somebody has begun to, and then it must not get its name.
        leftover.keep();
        halt_if_leaving();
        fs::rename(new.path(), self.path.join(COMMITTED)).map_err(io)?;
        // Not to be removed any more.
        let _ = new.keep();
        sync_folder(&self.path).map_err(io)?;
        self.finish()
    }

    /// Moves committed files up.
    fn finish(&self) -> Result<()> {
        let committed = self.path.join(COMMITTED);
        if !committed.is_dir() {
            return Ok(());
        }
        for name in OURS {
            let (from, to) = (committed.join(name), self.path.join(name));
            match fs::rename(&from, &to) {
                Err(e) if e.kind() != ErrorKind::NotFound => {
                    return Err(Fault::io("move a file of the new data into place", &to, &e).remedy(
                        "the new data are whole and in use, in the folder .prepared there; the next prepare moves them",
                    ));
                }
                _ => {}
            }
        }
        let io = |e: std::io::Error| Fault::io("replace the data", &self.path, &e);
        // The names above must last before the others are gone.
        sync_folder(&self.path).map_err(io)?;
        fs::remove_dir(&committed).map_err(|e| Fault::io("remove an empty folder", &committed, &e))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // While it is held: whoever opened it before finds that it is not the folder's lock any more.
        let _ = fs::remove_file(self.path.join(LOCK));
        let _ = self.lock.unlock();
    }
}

/// Takes the lock of the folder for as long as the file is open.
fn lock(folder: &Path) -> Result<File> {
    let place = folder.join(LOCK);
    let failed = |e: std::io::Error| Fault::io("lock the output folder", &place, &e);
    loop {
        let open = File::options().read(true).write(true).create(true).truncate(false).open(&place);
        let mut file = open.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Where locks are mandatory (Windows) the number cannot be read: it is a courtesy only.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    id => format!("process {id}"),
                };
                return Err(Fault::new(Kind::RunFolder, IN_USE)
                    .at(folder.display())
                    .found(format_args!("{holder} preparing data in it"))
                    .remedy("wait for its end, or choose another folder with --out"));
            }
            Err(TryLockError::Error(e)) => {
                return Err(failed(e).remedy("choose a folder on a file system that knows locks, with --out"));
            }
        }
        // Its owner may have removed it between the opening and the lock.
        let opened = file.try_clone().and_then(Handle::from_file).map_err(failed)?;
        if Handle::from_path(&place).is_ok_and(|there| there == opened) {
            file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id())).map_err(failed)?;
            return Ok(file);
        }
    }
}

fn refused(folder: &Path, found: String, remedy: &str) -> Fault {
    let fault = Fault::new(Kind::Usage, "the output folder is not empty").at(folder.display());
    fault.found(found).remedy(remedy)
}

/// Refuses a folder that holds anything else than prepared data.
fn refuse_others(folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Fault::io("look into the output folder", folder, &e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        // What file managers leave is nobody's, and stays.
        let nobodys = name.starts_with('.') || ["desktop.ini", "Thumbs.db"].contains(&&*name);
        if !nobodys && !OURS.contains(&&*name) {
            return Err(refused(folder, format!("{name} in it"), "choose another folder, which --out names"));
        }
    }
    Ok(())
}

/// Refuses a folder that holds prepared data.
fn refuse_data(folder: &Path) -> Result<()> {
    if !OURS.iter().any(|name| locate(folder, name).exists()) {
        return Ok(());
    }
    let found = match Meta::read(folder) {
        Ok(Some(meta)) => format!("data prepared from {}", meta.source.description.join(", ")),
        _ => "files of prepared data, not whole or of another version".to_owned(),
    };
    Err(refused(folder, found, "choose another folder, or say --replace to write over it"))
}
