//! Source code already on the machine: the Python standard library, else the crates of this build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::columns::Columns;
use super::entry::Entry;
use super::listing::{Filter, Listing, Looked, look_through};
use super::meta::LeftOut;
use super::walk::Passing;
use crate::fault::{Fault, Kind, Result};

/// Less than this is a stripped-down Python (Debian's `python3-minimal`), too little to learn from.
const ENOUGH_BYTES: u64 = 4 << 20;

/// Not library code: packages that users installed, and test suites, which some distributions omit.
const NOT_THE_LIBRARY: [&str; 5] = ["site-packages", "dist-packages", "test", "tests", "idle_test"];

/// Larger Rust files are generated tables and bindings.
const LARGEST_RUST_FILE: u64 = 256 << 10;

/// The packages this program was built from, as Cargo recorded them.
const CARGO_LOCK: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.lock"));

/// Lists the files of the first place that has enough text; `extensions` replaces `py` or `rs`.
pub fn find(extensions: &[String], out: &Path) -> Result<Listing> {
    // It is published library code, so its .gitignore files do not matter.
    let passing = Passing { hidden: true, gitignore: false, folders: &[], out };
    for folder in python_folders() {
        let extensions = or_default(extensions, "py");
        let passing = Passing { folders: &NOT_THE_LIBRARY, ..passing };
        let entries = code(&folder, &folder, &extensions, u64::MAX, passing)?;
        if entries.iter().map(|entry| entry.bytes).sum::<u64>() >= ENOUGH_BYTES {
            let description = vec![format!("Python standard library, {}", folder.display())];
            return Ok(Listing { entries, description, ..Listing::default() });
        }
    }

    let extensions = or_default(extensions, "rs");
    let mut listing = Listing::default();
    let crates = crate_folders();
    for folder in &crates {
        let base = folder.parent().unwrap_or(folder);
        listing.entries.extend(code(folder, base, &extensions, LARGEST_RUST_FILE, passing)?);
    }
    if listing.entries.is_empty() {
        return Err(Fault::new(Kind::Data, "`auto` found no source code on this machine")
            .found("neither a Python standard library nor the sources of this program's crates")
            .remedy("install python3, or give a folder, files, a glob or JSON lines"));
    }
    listing.description.push(format!("sources of {} Rust crates", crates.len()));
    Ok(listing)
}

/// The files of a folder, none of them larger than `largest_file`.
fn code(
    folder: &Path,
    base: &Path,
    extensions: &[String],
    largest_file: u64,
    passing: Passing,
) -> Result<Vec<Entry>> {
    let columns = Columns::new(None);
    let filter = Filter { extensions, largest_file, columns: &columns, links: false };
    let looked = look_through(folder, base, &filter, passing, &mut LeftOut::default())?;
    Ok(looked.into_iter().map(Looked::into_entry).collect())
}

fn or_default(extensions: &[String], default: &str) -> Vec<String> {
    if extensions.is_empty() { vec![default.to_owned()] } else { extensions.to_vec() }
}

/// First Python's own answer, then the usual places, newest version first.
fn python_folders() -> Vec<PathBuf> {
    let ask = "import sysconfig; print(sysconfig.get_path('stdlib'))";
    let mut folders: Vec<PathBuf> = ["python3", "python"]
        .iter()
        .filter_map(|program| {
            let output = Command::new(program).args(["-I", "-c", ask]).stdin(Stdio::null()).output().ok()?;
            let answer = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| PathBuf::from(answer.trim()))
        })
        .collect();
    let home = std::env::home_dir().unwrap_or_default();
    let local = std::env::var_os("LOCALAPPDATA").map(PathBuf::from).unwrap_or_default();
    let usual = [
        PathBuf::from("/usr/lib/python3*"),
        PathBuf::from("/usr/lib64/python3*"),
        PathBuf::from("/usr/local/lib/python3*"),
        PathBuf::from("/opt/homebrew/opt/python@3*/Frameworks/Python.framework/Versions/3*/lib/python3*"),
        PathBuf::from("/Library/Frameworks/Python.framework/Versions/3*/lib/python3*"),
        PathBuf::from(
            "/Library/Developer/CommandLineTools/Library/Frameworks/Python3.framework/Versions/3*/lib/python3*",
        ),
        home.join(".pyenv/versions/3*/lib/python3*"),
        local.join("Programs/Python/Python3*/Lib"),
    ];
    for pattern in usual {
        let mut found: Vec<PathBuf> =
            glob::glob(&pattern.to_string_lossy()).into_iter().flatten().flatten().collect();
        found.sort_by_key(|path| std::cmp::Reverse(version(path)));
        folders.extend(found);
    }
    folders.retain(|folder| folder.join("os.py").is_file());
    folders
}

/// The numbers in a path, in order: a folder of Python 3.12 comes after one of 3.9.
fn version(path: &Path) -> Vec<u64> {
    path.to_string_lossy()
        .split(|c: char| !c.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

/// The unpacked sources, in Cargo's home, of the crates in this program's lock file.
fn crate_folders() -> Vec<PathBuf> {
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default();
    let registries: Vec<PathBuf> =
        glob::glob(&home.join("registry/src/*").to_string_lossy()).into_iter().flatten().flatten().collect();
    let lock: toml::Table = CARGO_LOCK.parse().unwrap_or_default();
    let packages = lock.get("package").and_then(|list| list.as_array()).cloned().unwrap_or_default();
    let mut folders: Vec<PathBuf> = packages
        .iter()
        .filter_map(|package| {
            let name = package.get("name")?.as_str()?;
            let version = package.get("version")?.as_str()?;
            // Bindings to Windows are generated, and on Windows would outweigh everything else.
            let folder = (!name.starts_with("windows")).then(|| format!("{name}-{version}"))?;
            registries.iter().map(|registry| registry.join(&folder)).find(|folder| folder.is_dir())
        })
        .collect();
    folders.sort();
    folders
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_compare_as_numbers() {
        assert!(version(Path::new("/usr/lib/python3.12")) > version(Path::new("/usr/lib/python3.9")));
    }

    #[test]
    fn the_crates_of_this_build_are_found() {
        // The sources exist wherever this test was built from a registry.
        let names: Vec<String> = crate_folders()
            .iter()
            .map(|folder| folder.file_name().unwrap_or_default().to_string_lossy().into_owned())
            .collect();
        assert!(names.iter().any(|name| name.starts_with("tokenizers-")), "{names:?}");
        assert!(!names.iter().any(|name| name.starts_with("windows")), "{names:?}");
    }
}
