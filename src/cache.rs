//! The user's cache folder, which holds only what a later run could recompute. If there is no folder, or it cannot be
//! read or written, the work is redone. A failure to write is reported once.

pub mod attempts;

use crate::fault::Fault;
use crate::files::{folder_of, write_atomic};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// Names another folder; empty disables the cache.
const VARIABLE: &str = "NORMFREE_CACHE";

/// The folder, which need not exist yet: `NORMFREE_CACHE` if set, else `normfree` in the system's place for a user's
/// caches (`XDG_CACHE_HOME` or `~/.cache`; `~/Library/Caches` on macOS; `LOCALAPPDATA` on Windows). `None` if there is
/// no such place.
pub fn folder() -> Option<PathBuf> {
    place(|name| std::env::var_os(name))
}

/// Why the first file that could not be written failed.
static FAILURE: OnceLock<Fault> = OnceLock::new();

/// Replaces a file in the folder, creating the folder if needed. If that fails, the next run redoes the work and
/// [`failure`] says why.
pub fn keep(path: &Path, bytes: &[u8]) {
    let folder = folder_of(path);
    let made = std::fs::create_dir_all(folder).map_err(|e| Fault::io("make the cache folder", folder, &e));
    if let Err(fault) = made.and_then(|()| write_atomic(path, bytes)) {
        let _ = FAILURE.set(fault);
    }
}

/// Why this process failed to write to the cache, if it did.
pub fn failure() -> Option<&'static Fault> {
    FAILURE.get()
}

/// Turns a text into part of a file name: lower-case letters, digits and hyphens.
pub fn words(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' }).collect()
}

fn place(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(named) = variable(VARIABLE) {
        return (!named.is_empty()).then(|| PathBuf::from(named));
    }
    // A relative path would mean a different folder in each working directory.
    let path = |name| variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let caches = if cfg!(windows) {
        path("LOCALAPPDATA")
    } else if cfg!(target_os = "macos") {
        path("HOME").map(|home| home.join("Library").join("Caches"))
    } else {
        path("XDG_CACHE_HOME").or_else(|| path("HOME").map(|home| home.join(".cache")))
    };
    Some(caches?.join("normfree"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        place(|name| variables.iter().find(|(n, _)| *n == name).map(|(_, value)| value.into()))
    }

    #[test]
    fn the_named_folder_goes_before_the_systems() {
        let system = [("HOME", "/home/u"), ("XDG_CACHE_HOME", "/xdg"), ("LOCALAPPDATA", "C:\\Local")];
        let named = |value| with(&[&[(VARIABLE, value)], &system[..]].concat());
        assert_eq!(named("elsewhere"), Some("elsewhere".into()));
        assert_eq!(named(""), None);
        assert!(with(&system).is_some_and(|folder| folder.ends_with("normfree")));
        assert_eq!(with(&[]), None);
    }

    #[test]
    #[cfg(all(unix, not(target_os = "macos")))]
    fn the_systems_folder_is_absolute() {
        assert_eq!(with(&[("HOME", "/home/u")]), Some("/home/u/.cache/normfree".into()));
        assert_eq!(with(&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "/xdg")]), Some("/xdg/normfree".into()));
        assert_eq!(
            with(&[("HOME", "/home/u"), ("XDG_CACHE_HOME", "xdg")]),
            Some("/home/u/.cache/normfree".into())
        );
        assert_eq!(with(&[("HOME", ".")]), None);
    }
}
