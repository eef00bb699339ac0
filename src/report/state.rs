//! Whether logs have changed since a page was made.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

/// The files whose change changes a page.
const FILES: [&str; 4] = ["metrics.jsonl", "study.json", "config.toml", "env.json"];
/// Folders are searched as deep as runs may lie in them.
const DEEP: usize = 4;

/// A text that differs if a log or a study below `paths`, or one of these files, differs in its size or its time.
pub fn state(paths: &[PathBuf]) -> String {
    let mut hasher = Sha256::new();
    for path in paths {
        look(path, DEEP, &mut hasher);
    }
    let mut text = String::new();
    // Writing into a String cannot fail.
    hasher.finalize().iter().take(16).for_each(|byte| {
        let _ = write!(text, "{byte:02x}");
    });
    text
}

fn look(path: &Path, deep: usize, hasher: &mut Sha256) {
    let Ok(metadata) = fs::metadata(path) else { return };
    if metadata.is_file() {
        let time = metadata.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        hasher.update(path.as_os_str().as_encoded_bytes());
        hasher.update(metadata.len().to_le_bytes());
        hasher.update(time.unwrap_or_default().as_nanos().to_le_bytes());
        return;
    }
    for name in FILES {
        look(&path.join(name), 0, hasher);
    }
    let inside = fs::read_dir(path).into_iter().flatten().flatten().filter(|_| deep > 0);
    let mut folders: Vec<PathBuf> = inside
        .filter(|entry| entry.file_type().is_ok_and(|kind| !kind.is_file()))
        .filter(|entry| !entry.file_name().as_encoded_bytes().starts_with(b"."))
        .map(|entry| entry.path())
        .filter(|path| path.is_dir())
        .collect();
    folders.sort();
    for folder in folders {
        look(&folder, deep - 1, hasher);
    }
}
