//! The files of a corpus: folders, files, globs, or whatever source code the machine has.

use std::collections::HashSet;
use std::path::{Component, Path, PathBuf};

use glob::MatchOptions;
use sha2::{Digest, Sha256};

use super::auto;
use super::choose;
use super::columns::Columns;
use super::entry::Entry;
use super::listing::{Filter, Listing, look, look_through, slashed};
use super::meta::LeftOut;
use super::pieces::{Next, Reader};
use super::pipes;
use super::walk::{Passing, walk};
use crate::fault::{Fault, Kind, Result};

/// What to list, and how.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// `auto`, or paths of folders and files, or globs.
    pub sources: &'a [String],
    /// Which files of folders to take; if empty, all text files.
    pub extensions: &'a [String],
    /// The column, field or key that holds the documents of files with many; `None`: `text`, else `content`.
    pub column: Option<&'a str>,
    /// Whether to take hidden files, and those that a `.gitignore` excludes.
    pub all_files: bool,
    /// The most text to take.
    pub max_bytes: Option<u64>,
    /// Determines which files `max_bytes` keeps.
    pub seed: u64,
}

/// Lists the files of the sources.
///
/// In folders and globs it skips hidden files, those that a `.gitignore` excludes, links to folders, and everything in
/// `out`; in folders also links to files. A file that two sources name is taken once. With `max_bytes`, files are
/// drawn by the seed until they fill it.
pub fn list(wanted: Wanted, out: &Path) -> Result<Listing> {
    let extensions: Vec<String> =
        wanted.extensions.iter().map(|e| e.trim_start_matches('.').to_lowercase()).collect();
    let out = without_links(out)?;
    let mut listing = Listing::default();
    let choice = Choice {
        extensions: &extensions,
        columns: &Columns::new(wanted.column),
        passing: Passing { hidden: !wanted.all_files, gitignore: !wanted.all_files, folders: &[], out: &out },
    };
    for source in wanted.sources {
        add_source(source, choice, &mut listing)?;
    }
    if let Some(column) = wanted.column
        && !listing.entries.is_empty()
        && !listing.entries.iter().any(|entry| entry.format.has_rows())
    {
        return Err(Fault::new(Kind::Usage, "a column is named, and no source has columns")
            .at(listing.description.join(", "))
            .found(format!("texts, and the column `{column}`"))
            .remedy("omit --column, or give JSON lines, a table, Parquet or Arrow"));
    }

    let mut seen = HashSet::new();
    let mut entries = std::mem::take(&mut listing.entries);
    entries.sort_by(|a, b| (&a.relative, &a.path).cmp(&(&b.relative, &b.path)));
    entries.retain(|entry| seen.insert(entry.path.canonicalize().unwrap_or_else(|_| entry.path.clone())));
    if let Some(max_bytes) = wanted.max_bytes {
        entries = cap(entries, max_bytes, wanted.seed)?;
    }
    if entries.is_empty() {
        let fault = Fault::new(Kind::Data, "the corpus is empty: no file was found")
            .at(listing.description.join(", "));
        return Err(match (extensions.is_empty(), listing.left_out == LeftOut::default()) {
            (true, true) => fault.remedy("give a folder, files, a glob or JSON lines that hold text"),
            (true, false) => fault.found(LEFT_OUT).remedy(TAKE_THEM),
            (false, _) => fault
                .found(format!("no file ending in {}", extensions.join(", ")))
                .remedy("give other extensions, or another source"),
        });
    }
    Ok(Listing { entries, ..listing })
}

const LEFT_OUT: &str = "only hidden files, or files excluded by a .gitignore";
const TAKE_THEM: &str = "include hidden files, and those excluded by a .gitignore, with --all-files";

/// The absolute path, without links, of a folder that may not exist yet.
fn without_links(folder: &Path) -> Result<PathBuf> {
    let io = |e: std::io::Error| Fault::io("find the output folder", folder, &e);
    let absolute = std::path::absolute(folder).map_err(io)?;
    let mut missing = Vec::new();
    for above in absolute.ancestors() {
        if let Ok(found) = above.canonicalize() {
            return Ok(missing.iter().rev().fold(found, |path, name| path.join(name)));
        }
        missing.extend(above.file_name());
    }
    Ok(absolute)
}

/// How files are chosen and read.
#[derive(Clone, Copy)]
struct Choice<'a> {
    /// Lower-case, without a dot.
    extensions: &'a [String],
    columns: &'a Columns,
    passing: Passing<'a>,
}

fn add_source(source: &str, choice: Choice, listing: &mut Listing) -> Result<()> {
    let Choice { extensions, columns, passing } = choice;
    let path = Path::new(source);
    if source == "-" {
        return pipes::add_standard_input(columns, passing.out, listing);
    }
    if source == "auto" {
        let found = auto::find(extensions, passing.out)?;
        listing.entries.extend(found.entries);
        listing.description.extend(found.description);
        return Ok(());
    }
    refuse_in_out(path, source, passing.out)?;
    let metadata = std::fs::metadata(path);
    match &metadata {
        Ok(found) if found.is_dir() => {
            let snapshot = choose::hub_snapshot(path)?;
            let folder = snapshot.as_deref().unwrap_or(path);
            let filter = Filter { extensions, largest_file: u64::MAX, columns, links: snapshot.is_some() };
            let looked = look_through(folder, folder, &filter, passing, &mut listing.left_out)?;
            choose::add(looked, source, !extensions.is_empty(), listing)?;
            listing.description.push(format!("folder {source}"));
        }
        Ok(found) if found.is_file() => {
            let folder = path.parent().unwrap_or(Path::new(""));
            let looked = look(path, folder, false, columns)?;
            choose::check_single(&looked)?;
            listing.entries.push(looked.entry);
            listing.description.push(format!("file {source}"));
        }
        Ok(found) if pipes::is_pipe(found.file_type()) => {
            pipes::add(path, columns, passing.out, listing)?;
        }
        Ok(found) => {
            return Err(Fault::new(Kind::Data, "a source is neither a file, a folder nor a pipe")
                .at(source)
                .found(what_it_is(found.file_type()))
                .remedy("write its text to a file, and give that"));
        }
        Err(_) if source.contains(['*', '?', '[']) => add_glob(source, choice, listing)?,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(Fault::new(Kind::Data, "a source of text is missing")
                .at(source)
                .remedy("give a folder, a file, a glob, `-` or `auto`"));
        }
        Err(e) => return Err(Fault::io("read the text", path, e)),
    }
    Ok(())
}

/// Refuses to read what `out` holds.
fn refuse_in_out(path: &Path, source: &str, out: &Path) -> Result<()> {
    match path.canonicalize() {
        Ok(path) if path.starts_with(out) => {
            let fault = Fault::new(Kind::Usage, "a source is inside the output folder").at(source);
            Err(fault.remedy("choose another folder with --out"))
        }
        _ => Ok(()),
    }
}

/// Describes a path that is neither a file nor a folder.
fn what_it_is(kind: std::fs::FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        if kind.is_char_device() {
            return "a terminal or another character device";
        } else if kind.is_block_device() {
            return "a disk";
        } else if kind.is_socket() {
            return "a socket";
        }
    }
    let _ = kind;
    "neither a file nor a folder"
}

fn add_glob(source: &str, choice: Choice, listing: &mut Listing) -> Result<()> {
    let Choice { columns, passing, .. } = choice;
    let is_plain = |part: &Component| !part.as_os_str().to_string_lossy().contains(['*', '?', '[']);
    let parts: Vec<Component> = Path::new(source).components().collect();
    let plain = parts.iter().take_while(|part| is_plain(part)).count();
    let folder: PathBuf = parts[..plain].iter().collect();
    let pattern = slashed(&parts[plain..].iter().collect::<PathBuf>());
    let pattern = glob::Pattern::new(&pattern)
        .map_err(|e| Fault::new(Kind::Usage, "a source is neither a path nor a glob").at(source).found(e))?;
    // `*` stops at a `/`; `**` does not.
    let options = MatchOptions { require_literal_separator: true, ..MatchOptions::default() };
    let root = if plain == 0 { Path::new(".") } else { &folder };
    refuse_in_out(root, source, passing.out)?;
    let mut left_out = LeftOut::default();
    let found = match root.is_dir() {
        true => walk(root, passing, &mut left_out)?,
        false => Vec::new(),
    };
    let before = listing.entries.len();
    for file in found {
        let below = file.path.strip_prefix(root).unwrap_or(&file.path);
        if pattern.matches_with(&slashed(below), options) {
            let looked = look(&folder.join(below), &folder, false, columns)?;
            choose::check_single(&looked)?;
            listing.entries.push(looked.entry);
        }
    }
    if listing.entries.len() == before {
        let fault = Fault::new(Kind::Data, "a glob matches no file").at(source);
        return Err(match left_out == LeftOut::default() {
            true => fault.remedy(
                "`**` matches any number of folders, but follows no links to folders; quote the glob so that the \
                 shell leaves it alone",
            ),
            false => fault.found("hidden files, or a .gitignore that excludes files").remedy(TAKE_THEM),
        });
    }
    listing.left_out.add(left_out);
    listing.description.push(format!("files {source}"));
    Ok(())
}

/// Draws files by the seed until they fill `max_bytes`. If the first is already larger, takes its beginning.
fn cap(mut entries: Vec<Entry>, max_bytes: u64, seed: u64) -> Result<Vec<Entry>> {
    entries.sort_by_cached_key(|entry| key("cap", seed, &entry.relative));
    let mut left = max_bytes;
    let mut kept: Vec<Entry> = Vec::new();
    for mut entry in entries {
        let bytes = if entry.is_packed() { measured(&entry, left)? } else { entry.bytes };
        if bytes > left && kept.is_empty() {
            entry.limit = left;
            entry.cut = true;
        }
        if bytes.min(entry.limit) <= left {
            left -= bytes.min(entry.limit);
            kept.push(entry);
        }
    }
    kept.sort_by(|a, b| (&a.relative, &a.path).cmp(&(&b.relative, &b.path)));
    Ok(kept)
}

/// How much text a packed file holds; more than `enough` is not counted to its end.
fn measured(entry: &Entry, enough: u64) -> Result<u64> {
    let mut reader = Reader::open(entry)?;
    while reader.bytes() <= enough && matches!(reader.next_piece()?, Next::Piece(_)) {}
    Ok(reader.bytes())
}

/// A number determined by `name` and `seed`, uniform over `u64`; each `purpose` gives its own.
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
