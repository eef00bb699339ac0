//! Which files a corpus is made of: folders, files, globs, or whatever source code the machine has.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use sha2::{Digest, Sha256};
use walkdir::WalkDir;

use super::auto;
use crate::fault::{Fault, Kind, Result};

/// How the text lies in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// The file is one document.
    Text,
    /// Each line is a JSON object whose `text` or `content` is one document.
    JsonLines,
}

/// One file to read.
#[derive(Clone, Debug)]
pub struct Entry {
    pub path: PathBuf,
    /// The path below its source, with `/` on every system: the name by which it is ordered and split.
    pub relative: String,
    pub format: Format,
    /// How many bytes of it to read.
    pub bytes: u64,
    /// Whether `bytes` leaves out its end, because of the cap.
    pub cut: bool,
    /// Whether a zero byte means that it is no text.
    pub refuse_binary: bool,
}

/// The files of a corpus, ordered by relative path.
#[derive(Debug)]
pub struct Listing {
    pub entries: Vec<Entry>,
    /// One line per source.
    pub description: Vec<String>,
}

/// What to take from a folder.
pub struct Filter<'a> {
    /// Lower-case, without a dot; empty: every file that is text.
    pub extensions: &'a [String],
    /// Names of folders to pass by.
    pub skip_folders: &'a [&'a str],
    /// Files larger than this are passed by.
    pub largest_file: u64,
}

/// Lists the files of `sources`: `auto`, or paths of folders and files, or globs.
///
/// Hidden files, symbolic links below a folder, and everything in `out` are passed by; a file that two
/// sources name is taken once. With `max_bytes`, files are drawn by the seed until they fill it.
pub fn list(
    sources: &[String],
    extensions: &[String],
    out: &Path,
    max_bytes: Option<u64>,
    seed: u64,
) -> Result<Listing> {
    let extensions: Vec<String> =
        extensions.iter().map(|e| e.trim_start_matches('.').to_lowercase()).collect();
    let out = out.canonicalize().map_err(|e| Fault::io("open the output folder", out, &e))?;
    let mut listing = Listing { entries: Vec::new(), description: Vec::new() };
    for source in sources {
        add_source(source, &extensions, &out, &mut listing)?;
    }

    let mut seen = HashSet::new();
    let mut entries = listing.entries;
    entries.sort_by(|a, b| (&a.relative, &a.path).cmp(&(&b.relative, &b.path)));
    entries.retain(|entry| seen.insert(entry.path.canonicalize().unwrap_or_else(|_| entry.path.clone())));
    if let Some(max_bytes) = max_bytes {
        entries = cap(entries, max_bytes, seed);
    }
    if entries.is_empty() {
        let fault = Fault::new(Kind::Data, "the corpus is empty: no file was found")
            .at(listing.description.join(", "));
        return Err(match extensions.is_empty() {
            true => fault.remedy("name a folder, files, a glob or JSON lines that hold text"),
            false => fault
                .found(format!("no file ending in {}", extensions.join(", ")))
                .remedy("name other extensions, or another source"),
        });
    }
    Ok(Listing { entries, description: listing.description })
}

fn add_source(source: &str, extensions: &[String], out: &Path, listing: &mut Listing) -> Result<()> {
    let path = Path::new(source);
    let filter = Filter { extensions, skip_folders: &[], largest_file: u64::MAX };
    if source == "auto" {
        let found = auto::find(extensions, out)?;
        listing.entries.extend(found.entries);
        listing.description.extend(found.description);
    } else if path.is_dir() {
        walk(path, path, &filter, out, &mut listing.entries)?;
        listing.description.push(format!("folder {source}"));
    } else if path.is_file() {
        let folder = path.parent().unwrap_or(Path::new(""));
        listing.entries.push(entry(path, folder, false)?);
        listing.description.push(format!("file {source}"));
    } else if source.contains(['*', '?', '[']) {
        add_glob(source, listing)?;
    } else {
        return Err(Fault::new(Kind::Data, "a source of text is missing")
            .at(source)
            .remedy("name a folder, a file, a glob, or `auto`"));
    }
    Ok(())
}

fn add_glob(pattern: &str, listing: &mut Listing) -> Result<()> {
    let paths = glob::glob(pattern)
        .map_err(|e| Fault::new(Kind::Usage, "a source is neither a path nor a glob").at(pattern).found(e))?;
    let is_plain = |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let folder: PathBuf = Path::new(pattern).components().take_while(is_plain).collect();
    let before = listing.entries.len();
    for path in paths {
        let path = path.map_err(|e| Fault::io("list a folder", e.path(), e.error()))?;
        if path.is_file() {
            listing.entries.push(entry(&path, &folder, false)?);
        }
    }
    if listing.entries.len() == before {
        return Err(Fault::new(Kind::Data, "a glob matches no file")
            .at(pattern)
            .remedy("`**` matches any number of folders; quote the glob so that the shell leaves it alone"));
    }
    listing.description.push(format!("files {pattern}"));
    Ok(())
}

/// Adds the files below `folder` that pass `filter`, named relative to `base`.
pub fn walk(folder: &Path, base: &Path, filter: &Filter, out: &Path, entries: &mut Vec<Entry>) -> Result<()> {
    let is_wanted = |entry: &walkdir::DirEntry| {
        let name = entry.file_name().to_string_lossy();
        let is_skipped = entry.file_type().is_dir()
            && (filter.skip_folders.iter().any(|skip| *skip == name)
                || entry.path().canonicalize().is_ok_and(|path| path == out));
        entry.depth() == 0 || !(name.starts_with('.') || is_skipped)
    };
    for found in WalkDir::new(folder).into_iter().filter_entry(is_wanted) {
        let found = found.map_err(|e| {
            let path = e.path().unwrap_or(folder).to_path_buf();
            Fault::io("list a folder", &path, &std::io::Error::from(e))
        })?;
        if !found.file_type().is_file() {
            continue;
        }
        let extension = found.path().extension().unwrap_or_default().to_string_lossy().to_lowercase();
        if filter.extensions.is_empty() || filter.extensions.contains(&extension) {
            let entry = entry(found.path(), base, filter.extensions.is_empty())?;
            if entry.bytes <= filter.largest_file {
                entries.push(entry);
            }
        }
    }
    Ok(())
}

fn entry(path: &Path, base: &Path, refuse_binary: bool) -> Result<Entry> {
    let bytes = std::fs::metadata(path).map_err(|e| Fault::io("read the text", path, &e))?.len();
    let below = path.strip_prefix(base).unwrap_or(path);
    let parts: Vec<_> = below.components().map(|part| part.as_os_str().to_string_lossy()).collect();
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    let format = match extension.as_str() {
        "jsonl" | "ndjson" => Format::JsonLines,
        _ => Format::Text,
    };
    let relative = parts.join("/");
    Ok(Entry { path: path.to_path_buf(), relative, format, bytes, cut: false, refuse_binary })
}

/// Draws files by the seed until they fill `max_bytes`; where the first is larger already, its beginning.
fn cap(mut entries: Vec<Entry>, max_bytes: u64, seed: u64) -> Vec<Entry> {
    entries.sort_by_cached_key(|entry| key("cap", seed, &entry.relative));
    let mut left = max_bytes;
    let mut kept: Vec<Entry> = Vec::new();
    for mut entry in entries {
        if entry.bytes > left && kept.is_empty() {
            entry.bytes = left;
            entry.cut = true;
        }
        if entry.bytes <= left {
            left -= entry.bytes;
            kept.push(entry);
        }
    }
    kept.sort_by(|a, b| (&a.relative, &a.path).cmp(&(&b.relative, &b.path)));
    kept
}

/// A number that `name` draws under `seed`, uniform over `u64`; each `purpose` draws its own.
pub fn key(purpose: &str, seed: u64, name: &str) -> u64 {
    let digest = Sha256::new()
        .chain_update(purpose)
        .chain_update([0])
        .chain_update(seed.to_le_bytes())
        .chain_update(name)
        .finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}
