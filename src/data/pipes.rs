//! Standard input and named pipes as sources. Text is read several times, so what a pipe gives is first copied to a file
//! without a name, which is gone once the process ends.

use std::fs::{File, FileType};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::choose;
use super::columns::Columns;
use super::entry::Place;
use super::listing::{Listing, look_at};
use crate::fault::{Fault, Kind, Result};

/// Whether a file is a pipe, such as the shell's `<(…)`.
pub fn is_pipe(kind: FileType) -> bool {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;
        kind.is_fifo()
    }
    #[cfg(not(unix))]
    {
        let _ = kind;
        false
    }
}

/// Adds what standard input gives until it ends.
///
/// # Errors
/// [`Kind::Usage`] for a terminal; [`Kind::Data`] if it is not read; [`Kind::Io`].
pub fn add_standard_input(columns: &Columns, out: &Path, listing: &mut Listing) -> Result<()> {
    let input = std::io::stdin();
    if input.is_terminal() {
        return Err(Fault::new(Kind::Usage, "standard input is a terminal, not text")
            .remedy("pipe text into the command, or give files"));
    }
    copied(input.lock(), Path::new("standard input"), "stdin", columns, out, listing)
}

/// Adds what a pipe gives until it ends.
///
/// # Errors
/// [`Kind::Data`] if it is not read; [`Kind::Io`].
pub fn add(path: &Path, columns: &Columns, out: &Path, listing: &mut Listing) -> Result<()> {
    let pipe = File::open(path).map_err(|e| Fault::io("read the text", path, &e))?;
    // Numbered, because the shell's names differ from one time to the next, and names decide what is held out.
    let pipes = listing.entries.iter().filter(|entry| matches!(entry.place, Place::Copy(_))).count();
    copied(pipe, path, &format!("pipe-{}", pipes + 1), columns, out, listing)
}

fn copied(
    mut pipe: impl Read,
    path: &Path,
    name: &str,
    columns: &Columns,
    out: &Path,
    listing: &mut Listing,
) -> Result<()> {
    // On the disk of the output, which has room for data.
    let folder: PathBuf = out.ancestors().find(|above| above.is_dir()).unwrap_or(Path::new(".")).to_owned();
    let mut file =
        tempfile::tempfile_in(&folder).map_err(|e| Fault::io("copy a pipe to the disk", &folder, &e))?;
    let bytes =
        std::io::copy(&mut pipe, &mut file).map_err(|e| Fault::io("copy a pipe to the disk", path, &e))?;
    let place = Place::Copy(Arc::new(file));
    let looked = look_at(path, place, name.to_owned(), false, bytes, false, columns)?;
    choose::check_single(&looked)?;
    listing.entries.push(looked.entry);
    listing.description.push(if name == "stdin" { "standard input".to_owned() } else { "a pipe".to_owned() });
    Ok(())
}
