//! Files that are replaced completely or not at all.
//!
//! A reader, or a process that is killed, sees the old file or the new one, never a part of either: the new content is
//! written beside the old file, synced to disk, and renamed over it.

pub mod leftovers;

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use sha2::{Digest, Sha256};

use crate::fault::{Fault, Kind, Result};
use leftovers::{Leftover, halt_if_leaving};

/// The suffix of a file that is still being written; the folder's owner may delete leftovers.
pub const UNFINISHED: &str = ".writing";

/// Buffer size for the writers here: large enough to write a tensor in few calls.
const BUFFER: usize = 1 << 18;

/// Replaces the file at `path` with `bytes`.
///
/// # Errors
/// An [`Io`](crate::fault::Kind::Io) fault; the file is then unchanged.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    replace_with(path, |out| out.write_all(bytes).map_err(|e| Fault::io("write the file", path, &e)))
}

/// Replaces the file at `path` with what `fill` writes.
///
/// # Errors
/// Errors of `fill`, and an [`Io`](crate::fault::Kind::Io) fault if the file cannot be written. The file is then
/// unchanged, and nothing is left beside it.
pub fn replace_with(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Fault::io("write the file", path, &e);
    check_folder(path)?;
    let folder = folder_of(path);
    let name = path.file_name().ok_or_else(|| failed(io::ErrorKind::InvalidInput.into()))?;
    let prefix = format!(".{}.", name.to_string_lossy());
    remove_leftovers(folder, |of| name == of);
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(UNFINISHED);
    #[cfg(unix)]
    {
        // A temporary file is private by default; this one becomes the user's file, so the umask decides.
        use std::os::unix::fs::PermissionsExt;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    halt_if_leaving();
    let (file, beside, _unfinished) = loop {
        let (file, beside) = builder.tempfile_in(folder).map_err(failed)?.into_parts();
        let unfinished = Leftover::file(&beside);
        // Locked until the end, so that no process takes the file for a leftover. Another process may have done so
        // before it was locked, and then the name is gone. Where files cannot be locked, no process removes any.
        let _ = file.lock();
        if beside.exists() {
            break (file, beside, unfinished);
        }
    };
    // Closing the file would unlock it; it stays open until it has its final name.
    let held = file.try_clone().map_err(failed)?;
    // From here on every early return drops `beside`, which deletes the unfinished file.
    finish(file, path, fill)?;
    beside.persist(path).map_err(|e| failed(e.error))?;
    drop(held);
    sync_folder(folder).map_err(failed)
}

/// Refuses a file at `path` if its folder is missing.
///
/// # Errors
/// An [`Io`](crate::fault::Kind::Io) fault.
pub fn check_folder(path: &Path) -> Result<()> {
    let folder = folder_of(path);
    if folder.is_dir() {
        return Ok(());
    }
    let fault = Fault::new(Kind::Io, "cannot write the file").at(path.display());
    Err(match folder.exists() {
        true => fault.found(format!("a file at {}", folder.display())).remedy("choose another folder"),
        false => fault.found(format!("no folder {}", folder.display())).remedy("make that folder first"),
    })
}

/// Removes from `folder` what killed processes left of the files whose names `is_ours` accepts. Files still being
/// written stay, and so do files that cannot be removed: they do no harm.
pub fn remove_leftovers(folder: &Path, is_ours: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let target = name.to_str().and_then(|name| name.strip_prefix('.')?.strip_suffix(UNFINISHED));
        // Between the prefix and the suffix are the file's own name and some random letters.
        let ours = target.and_then(|name| name.rsplit_once('.')).is_some_and(|(name, _)| is_ours(name));
        if ours {
            let _ = remove_unless_written(&entry.path());
        }
    }
}

/// Deletes an unfinished file or folder, except a file that a process is still writing.
///
/// # Errors
/// An [`Io`](crate::fault::Kind::Io) fault.
pub fn remove_unless_written(path: &Path) -> Result<()> {
    let file = File::options().write(true).open(path);
    if file.as_ref().is_ok_and(|file| file.try_lock().is_err()) {
        return Ok(());
    }
    // `file` stays locked until the name is gone: a writer that has just created it waits for the lock, and then sees
    // that it has to begin again.
    match remove(path) {
        // Its writer has finished, or another process has deleted it.
        Err(_) if !path.exists() => Ok(()),
        done => done,
    }
}

/// Creates the file `path`, lets `fill` write it, and syncs it to disk. For files in a folder that is itself renamed
/// into place once complete.
///
/// # Errors
/// Errors of `fill`, and an [`Io`](crate::fault::Kind::Io) fault if the file exists or cannot be written.
pub fn write_new(path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    halt_if_leaving();
    let file = File::create_new(path).map_err(|e| Fault::io("write the file", path, &e))?;
    finish(file, path, fill)
}

/// Names in `folder`, sorted. Names that are not UTF-8, which are never ours, have their invalid bytes replaced.
///
/// # Errors
/// An [`Io`](crate::fault::Kind::Io) fault if the folder cannot be listed.
pub fn names_in(folder: &Path) -> Result<Vec<String>> {
    let failed = |e: io::Error| Fault::io("list the folder", folder, &e);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.push(entry.map_err(failed)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// Whether a name is that of a file or folder whose writer did not finish.
pub fn is_unfinished(name: &str) -> bool {
    name.starts_with('.') && name.ends_with(UNFINISHED)
}

/// Deletes a file, or a folder with everything in it, that an earlier process left.
///
/// # Errors
/// An [`Io`](crate::fault::Kind::Io) fault.
pub fn remove(path: &Path) -> Result<()> {
    let done = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    done.map_err(|e| Fault::io("delete the leftovers of an earlier run", path, &e))
}

/// Syncs the names in `folder` to disk: a rename is durable only after this.
///
/// # Errors
/// Errors of the system. Does nothing where folders cannot be synced (Windows, some network drives).
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    #[cfg(unix)]
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), io::ErrorKind::InvalidInput | io::ErrorKind::Unsupported) => Ok(()),
        done => done,
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        Ok(())
    }
}

/// Bytes as hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The folder that contains `path`; `.` for a bare name.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn finish(file: File, path: &Path, fill: impl FnOnce(&mut BufWriter<File>) -> Result<()>) -> Result<()> {
    let failed = |e: io::Error| Fault::io("write the file", path, &e);
    let mut out = BufWriter::with_capacity(BUFFER, file);
    if let Err(fault) = fill(&mut out) {
        // Otherwise the writer would try once more, in vain, to write its buffer.
        let _ = out.into_parts();
        return Err(fault);
    }
    out.into_inner().map_err(|e| failed(e.into_error()))?.sync_all().map_err(failed)
}
