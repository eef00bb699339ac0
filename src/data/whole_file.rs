//! Files that are written whole or not at all: beside their name, synced, then renamed.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::fault::{Fault, Result};

const PREFIX: &str = ".prepare-";
const SUFFIX: &str = ".part";

/// A file being written under another name; dropped before [`WholeFile::finish`], it leaves nothing.
pub struct WholeFile {
    target: PathBuf,
    writer: BufWriter<NamedTempFile>,
}

impl WholeFile {
    /// Begins a file that will stand at `folder/name`; the folder must exist.
    pub fn create(folder: &Path, name: &str) -> Result<Self> {
        let target = folder.join(name);
        let mut builder = tempfile::Builder::new();
        builder.prefix(PREFIX).suffix(SUFFIX);
        // A temporary file is its owner's alone; this one is to become an ordinary file, under the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        let file = builder.tempfile_in(folder).map_err(|e| Fault::io("create a file", &target, &e))?;
        Ok(Self { target, writer: BufWriter::with_capacity(1 << 18, file) })
    }

    /// Where the file will stand.
    pub fn target(&self) -> &Path {
        &self.target
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.writer.write_all(bytes).map_err(|e| Fault::io("write a file", &self.target, &e))
    }

    /// The open file, everything written so far in it.
    pub fn flushed(&mut self) -> Result<&mut File> {
        self.writer.flush().map_err(|e| Fault::io("write a file", &self.target, &e))?;
        Ok(self.writer.get_mut().as_file_mut())
    }

    /// Brings the file to the disk and gives it its name, in the place of what stood there.
    pub fn finish(mut self) -> Result<()> {
        let target = self.target.clone();
        let fault = |e: &std::io::Error| Fault::io("write a file", &target, e);
        self.flushed()?.sync_all().map_err(|e| fault(&e))?;
        let file = self.writer.into_inner().map_err(|e| fault(e.error()))?;
        file.persist(&target).map_err(|e| fault(&e.error))?;
        // The new name is safe only once the folder is. Windows cannot open a folder as a file, nor needs to.
        #[cfg(unix)]
        if let Some(folder) = target.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|e| fault(&e))?;
        }
        Ok(())
    }
}

/// Removes what a killed run left in `folder`.
pub fn remove_leftovers(folder: &Path) -> Result<()> {
    let listing = std::fs::read_dir(folder).map_err(|e| Fault::io("list the folder", folder, &e))?;
    for entry in listing.flatten() {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with(PREFIX) && name.ends_with(SUFFIX) {
            let path = entry.path();
            std::fs::remove_file(&path).map_err(|e| Fault::io("remove a left-over file", &path, &e))?;
        }
    }
    Ok(())
}
