//! The folders of a run's checkpoints: how they are put in place, how many are kept, and what a killed process leaves
//! behind.
//!
//! Every visible change is one rename, so a folder named `step-N` is whole at any moment:
//!
//! | name | what it is | what [`tidy`] does with one it finds |
//! | --- | --- | --- |
//! | `step-N` | a checkpoint | nothing |
//! | `.step-N.writing` | the new one, unfinished | deletes it |
//! | `.step-N.replaced` | the old one of a step written a second time | puts it back where the new one is missing |
//! | `.step-N.removing` | one that is being deleted | deletes it |

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::state::is_finite;
use crate::fault::{Fault, Result};
use crate::files::{self, UNFINISHED, is_unfinished, names_in, remove};

const REPLACED: &str = ".replaced";
const REMOVING: &str = ".removing";

fn folder_name(step: u64) -> String {
    format!("step-{step:08}")
}

/// The step in a folder's name; `None` if the name is not a checkpoint's.
pub(super) fn step_of(path: &Path) -> Option<u64> {
    let step = path.file_name()?.to_str()?.strip_prefix("step-")?.parse().ok()?;
    (path.file_name()?.to_str()? == folder_name(step)).then_some(step)
}

/// The checkpoints in `folder`, oldest first, whole or not; none if the folder does not exist.
pub(super) fn list(folder: &Path) -> Result<Vec<(u64, PathBuf)>> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let paths = names_in(folder)?.into_iter().map(|name| folder.join(name));
    let mut found: Vec<_> = paths.filter_map(|path| Some((step_of(&path)?, path))).collect();
    found.sort();
    Ok(found)
}

/// Makes the empty folder that the checkpoint of `step` is written to.
pub(super) fn begin(folder: &Path, step: u64) -> Result<PathBuf> {
    let path = hidden(folder, step, UNFINISHED);
    remove_if_there(&path)?;
    fs::create_dir_all(&path).map_err(|e| Fault::io("write the checkpoint", &path, &e))?;
    Ok(path)
}

/// Gives the written folder its name. A checkpoint of the same step is replaced.
pub(super) fn commit(folder: &Path, step: u64, unfinished: &Path) -> Result<PathBuf> {
    let path = folder.join(folder_name(step));
    let failed = |e: io::Error| Fault::io("write the checkpoint", &path, &e);
    let replaced = hidden(folder, step, REPLACED);
    if path.exists() {
        remove_if_there(&replaced)?;
        fs::rename(&path, &replaced).map_err(failed)?;
    }
    if let Err(e) = fs::rename(unfinished, &path) {
        let _ = fs::rename(&replaced, &path);
        return Err(failed(e));
    }
    files::sync_folder(folder).map_err(failed)?;
    remove_if_there(&replaced)?;
    Ok(path)
}

/// Deletes the [surplus](surplus) checkpoints up to `step`, the one just written. Later ones are kept: they exist if the
/// run went back to an older checkpoint, and are replaced one after another.
pub(in crate::train) fn prune(folder: &Path, step: u64, keep: usize) -> Result<()> {
    let mut old = list(folder)?;
    old.retain(|(of, _)| *of <= step);
    for (of, path) in surplus(&old, keep) {
        let removing = hidden(folder, *of, REMOVING);
        remove_if_there(&removing)?;
        fs::rename(path, &removing).map_err(|e| Fault::io("delete the old checkpoint", path, &e))?;
        remove(&removing)?;
    }
    Ok(())
}

/// All checkpoints (oldest first) except the newest `keep` and, if none of those is finite, the newest finite one.
fn surplus(all: &[(u64, PathBuf)], keep: usize) -> impl Iterator<Item = &(u64, PathBuf)> {
    let (old, newest) = all.split_at(all.len().saturating_sub(keep.max(1)));
    let finite = |(_, path): &&(u64, PathBuf)| is_finite(path);
    let spared = if old.is_empty() || newest.iter().rev().any(|one| finite(&one)) {
        None
    } else {
        old.iter().rfind(finite)
    };
    old.iter().filter(move |one| Some(*one) != spared)
}

/// Step and folder of the newest checkpoint in `folder` whose numbers are all finite.
pub(in crate::train) fn newest_finite(folder: &Path) -> Result<Option<(u64, PathBuf)>> {
    Ok(list(folder)?.into_iter().rfind(|(_, path)| is_finite(path)))
}

/// Clears away what a killed process left behind among the checkpoints in `folder`. The run must be locked.
pub(in crate::train) fn tidy(folder: &Path) -> Result<()> {
    for name in names_in(folder)? {
        let path = folder.join(&name);
        let replaced = name.strip_prefix('.').and_then(|name| name.strip_suffix(REPLACED));
        if let Some(step) = replaced
            && !folder.join(step).exists()
        {
            let back = folder.join(step);
            fs::rename(&path, &back).map_err(|e| Fault::io("put the checkpoint back", &back, &e))?;
        } else if replaced.is_some()
            || is_unfinished(&name)
            || (name.starts_with('.') && name.ends_with(REMOVING))
        {
            remove(&path)?;
        }
    }
    Ok(())
}

/// Whether `folder` holds no leftovers of a killed process and no checkpoint that [`prune`] would delete.
pub(in crate::train) fn is_settled(folder: &Path, keep: usize) -> Result<bool> {
    let hidden = folder.exists() && names_in(folder)?.iter().any(|name| name.starts_with(".step-"));
    Ok(!hidden && surplus(&list(folder)?, keep).next().is_none())
}

fn hidden(folder: &Path, step: u64, suffix: &str) -> PathBuf {
    folder.join(format!(".{}{suffix}", folder_name(step)))
}

fn remove_if_there(path: &Path) -> Result<()> {
    if path.exists() { remove(path) } else { Ok(()) }
}
