//! A prepared folder on disk: who may write it, and how four files are replaced as one.
//!
//! All four are written and synced to disk in a subfolder (`.prepare-….part`), which is then renamed to
//! [`COMMITTED`]. From that moment the new data count, because every reader looks there first. Finally the files move
//! up, each over the old file of its name. So whenever a process is killed, either the old data or the new are complete,
//! and the next `prepare` in that folder finishes or removes what the killed process left.

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

/// The lock: a process is preparing data in the folder.
const LOCK: &str = ".prepare.lock";
/// The name of a subfolder with unfinished data.
const PREFIX: &str = ".prepare-";
const SUFFIX: &str = ".part";

/// The message if another process holds the folder.
const IN_USE: &str = "the output folder is in use";

/// Identifies the data of a folder at a moment. If two are equal, nothing was replaced between them.
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
    /// The path at which a file of the new data is to be written.
    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A folder that only this process may fill, until it is dropped or the process ends.
#[derive(Debug)]
pub struct Owned {
    path: PathBuf,
    lock: File,
}

impl Owned {
    /// Takes the folder `path`, which must exist. Changes nothing in it except the lock.
    ///
    /// # Errors
    /// [`Kind::RunFolder`] if another process holds it; [`Kind::Usage`] if it holds anything other than prepared
    /// data, or prepared data without `replace`; [`Kind::Io`].
    pub fn take(path: &Path, replace: bool) -> Result<Self> {
        // Check before locking, because the lock would add a file to an unrelated folder; and after, because another
        // process can have begun and ended in between.
        refuse_others(path)?;
        let owned = Self { path: path.to_owned(), lock: lock(path)? };
        refuse_others(path)?;
        if !replace {
            refuse_data(path)?;
        }
        Ok(owned)
    }

    /// Finishes or removes what killed processes left.
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
                removed.map_err(|e| Fault::io("remove the leftovers of an earlier call", &path, &e))?;
            }
        }
        Ok(())
    }

    /// Begins new data: a subfolder that is removed when it is dropped, or when the process is told to leave.
    pub fn begin(&self) -> Result<New> {
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // A temporary folder is private to its owner; this one should be readable by others, under the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o777));
        let folder =
            builder.tempdir_in(&self.path).map_err(|e| Fault::io("make a folder", &self.path, &e))?;
        let leftover = Leftover::folder(folder.path());
        Ok(New { folder, leftover })
    }

    /// Makes the four files in `new`, which are complete and synced, the data of this folder.
    pub fn commit(&self, New { folder: new, leftover }: New) -> Result<()> {
        self.finish()?;
        let io = |e: std::io::Error| Fault::io("replace the data", &self.path, &e);
        sync_folder(new.path()).map_err(io)?;
        // From here on either nobody removes it, or removal has begun, and then it must not get its final name.
        leftover.keep();
        halt_if_leaving();
        fs::rename(new.path(), self.path.join(COMMITTED)).map_err(io)?;
        // It must no longer be removed.
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
                        "the new data is complete and in use, in the folder .prepared there; the next prepare moves it",
                    ));
                }
                _ => {}
            }
        }
        let io = |e: std::io::Error| Fault::io("replace the data", &self.path, &e);
        // The renames above must be durable before the folder is removed.
        sync_folder(&self.path).map_err(io)?;
        fs::remove_dir(&committed).map_err(|e| Fault::io("remove an empty folder", &committed, &e))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        // While the lock is held: whoever opened the file earlier notices that it is no longer the folder's lock.
        let _ = fs::remove_file(self.path.join(LOCK));
        let _ = self.lock.unlock();
    }
}

/// Locks the folder for as long as the file is open.
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
                // Where locks are mandatory (Windows) the number cannot be read; it is only informative.
                let _ = file.read_to_string(&mut holder);
                let holder = match holder.trim() {
                    "" => "another process".to_owned(),
                    id => format!("process {id}"),
                };
                return Err(Fault::new(Kind::RunFolder, IN_USE)
                    .at(folder.display())
                    .found(format_args!("{holder} preparing data in it"))
                    .remedy("wait for it to end, or choose another folder with --out"));
            }
            Err(TryLockError::Error(e)) => {
                return Err(
                    failed(e).remedy("choose a folder on a file system that supports locks, with --out")
                );
            }
        }
        // Its owner may have removed the file between opening and locking.
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

/// Refuses a folder that holds anything other than prepared data.
fn refuse_others(folder: &Path) -> Result<()> {
    let failed = |e: std::io::Error| Fault::io("look into the output folder", folder, &e);
    for entry in fs::read_dir(folder).map_err(failed)? {
        let name = entry.map_err(failed)?.file_name();
        let name = name.to_string_lossy();
        // Files of file managers are harmless, and stay.
        let nobodys = name.starts_with('.') || ["desktop.ini", "Thumbs.db"].contains(&&*name);
        if !nobodys && !OURS.contains(&&*name) {
            return Err(refused(folder, format!("{name} in it"), "choose another folder with --out"));
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
        _ => "files of prepared data, incomplete or of another version".to_owned(),
    };
    Err(refused(folder, found, "choose another folder, or overwrite it with --replace"))
}
