//! The single walk through folders, for both folders and globs.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use ignore::{DirEntry, WalkBuilder};

use super::meta::LeftOut;
use crate::fault::{Fault, Result};

const GITIGNORE: &str = ".gitignore";

/// Which files of a folder are skipped.
#[derive(Clone, Copy, Debug)]
pub struct Passing<'a> {
    /// Hidden ones: their name, or that of a parent folder, begins with a dot.
    pub hidden: bool,
    /// Those that a `.gitignore` excludes, in the folder, below it, or above it in its repository.
    pub gitignore: bool,
    /// Those in folders with these names.
    pub folders: &'static [&'static str],
    /// Those in this folder, an absolute path without links.
    pub out: &'a Path,
}

/// A file found by a walk.
#[derive(Debug)]
pub struct Found {
    pub path: PathBuf,
    /// Whether it is a symbolic link to a file.
    pub is_link: bool,
}

/// The files below `folder`, except those to skip, which are counted in `left_out`. Links to folders are not followed,
/// so a walk always ends. The order is the system's.
///
/// # Errors
/// [`Io`](crate::fault::Kind::Io) if a folder cannot be read.
pub fn walk(folder: &Path, passing: Passing, left_out: &mut LeftOut) -> Result<Vec<Found>> {
    let hidden = Arc::new(AtomicU64::new(0));
    let gitignore = Arc::new(AtomicBool::new(false));
    let repository = repository_above(folder);
    let mut builder = WalkBuilder::new(folder);
    builder
        // Global ignore files, and those of other tools, do not describe the source.
        .standard_filters(false)
        .git_ignore(passing.gitignore)
        .parents(passing.gitignore && repository.is_some())
        .require_git(repository.is_some());
    {
        let (hidden, gitignore) = (hidden.clone(), gitignore.clone());
        let (passes_hidden, folders, out) = (passing.hidden, passing.folders, passing.out.to_owned());
        builder.filter_entry(move |entry| {
            let name = entry.file_name().to_string_lossy();
            if entry.depth() == 0 {
                return true;
            }
            if name == GITIGNORE {
                gitignore.store(true, Ordering::Relaxed);
            }
            if passes_hidden && name.starts_with('.') {
                hidden.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            let is_folder = entry.file_type().is_some_and(|kind| kind.is_dir());
            !is_folder
                || !(folders.contains(&&*name) || entry.path().canonicalize().is_ok_and(|path| path == out))
        });
    }
    let mut files = Vec::new();
    for entry in builder.build() {
        let entry = entry.map_err(|e| fault(folder, &e))?;
        if let Some(is_link) = is_file(&entry) {
            files.push(Found { path: entry.into_path(), is_link });
        }
    }
    left_out.hidden += hidden.load(Ordering::Relaxed);
    left_out.gitignore |= passing.gitignore
        && (gitignore.load(Ordering::Relaxed) || repository.is_some_and(|top| has_gitignore(folder, &top)));
    Ok(files)
}

/// Whether an entry is a file, and if so whether by a link. Pipes and devices are not files.
fn is_file(entry: &DirEntry) -> Option<bool> {
    let kind = entry.file_type()?;
    let by_link = || kind.is_symlink() && fs::metadata(entry.path()).is_ok_and(|file| file.is_file());
    if kind.is_file() { Some(false) } else { by_link().then_some(true) }
}

/// The root of the repository that contains `folder`.
fn repository_above(folder: &Path) -> Option<PathBuf> {
    let folder = folder.canonicalize().ok()?;
    folder.ancestors().find(|above| above.join(".git").exists()).map(Path::to_owned)
}

/// Whether a `.gitignore` of the repository above `folder` may exclude its contents.
fn has_gitignore(folder: &Path, top: &Path) -> bool {
    let Ok(folder) = folder.canonicalize() else { return false };
    let within = folder.ancestors().take_while(|above| above.starts_with(top));
    within.into_iter().any(|above| above.join(GITIGNORE).exists())
}

fn fault(folder: &Path, error: &ignore::Error) -> Fault {
    let path = path_of(error).unwrap_or(folder);
    match error.io_error() {
        Some(e) => Fault::io("list a folder", path, e),
        None => Fault::io("list a folder", path, &std::io::Error::other(error.to_string())),
    }
}

fn path_of(error: &ignore::Error) -> Option<&Path> {
    match error {
        ignore::Error::WithPath { path, .. } => Some(path),
        ignore::Error::WithDepth { err, .. } | ignore::Error::WithLineNumber { err, .. } => path_of(err),
        _ => None,
    }
}
