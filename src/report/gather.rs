//! Resolves the paths of a command line: runs, studies, published matrices, and folders of these.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use super::study::{self, Study};
use crate::fault::{Fault, Kind, Result};

/// Folders are searched to this depth: runs/study/small/RUN lies three below `runs`.
const DEEP: usize = 3;
/// A folder tree with more folders than this is not a folder of runs.
const MOST: usize = 20_000;

/// One thing to compare.
pub enum Source {
    Run(PathBuf),
    Study(PathBuf, Study),
    Published(PathBuf),
    /// The folder, inside a folder of runs, of a run that has no log yet.
    NotBegun(PathBuf),
}

/// What `path` stands for. A run, a study or a TOML file stands for itself; any other folder stands for all runs and
/// studies inside it, in name order. Hidden folders are skipped, and a folder with several links to it counts once.
///
/// # Errors
/// `RunFolder` if a folder holds neither runs nor studies, or too many folders; those of [`Study::load`]; `Io`.
pub fn sources(path: &Path) -> Result<Vec<Source>> {
    if path.extension().is_some_and(|extension| extension == "toml") && path.is_file() {
        return Ok(vec![Source::Published(path.to_owned())]);
    }
    if let Some(source) = itself(path)? {
        return Ok(vec![source]);
    }
    if !path.is_dir() {
        // Reading it reports what is wrong with it.
        return Ok(vec![Source::Run(path.to_owned())]);
    }
    let mut walk = Walk { found: Vec::new(), seen: BTreeSet::new() };
    walk.look(path, DEEP)?;
    if walk.found.is_empty() {
        return Err(Fault::new(Kind::RunFolder, "this is neither a run folder nor a folder of runs")
            .at(path.display())
            .found("neither metrics.jsonl nor study.json, in it or in the folders inside")
            .remedy("give a folder written by `normfree train`, `study` or `demo`"));
    }
    Ok(walk.found)
}

/// The run or the study that has this folder.
fn itself(folder: &Path) -> Result<Option<Source>> {
    if let Some(study) = Study::load(folder)? {
        return Ok(Some(Source::Study(folder.to_owned(), study)));
    }
    Ok(folder.join("metrics.jsonl").is_file().then(|| Source::Run(folder.to_owned())))
}

struct Walk {
    found: Vec<Source>,
    /// Folders by their real path, so that a link cycle ends.
    seen: BTreeSet<PathBuf>,
}

impl Walk {
    fn look(&mut self, folder: &Path, deep: usize) -> Result<()> {
        let failed = |error: std::io::Error| Fault::io("look into the folder", folder, &error);
        if !self.seen.insert(folder.canonicalize().map_err(failed)?) {
            return Ok(());
        }
        if self.seen.len() > MOST {
            return Err(Fault::new(Kind::RunFolder, "there are too many folders here to search for runs")
                .at(folder.display())
                .found(format!("more than {MOST}"))
                .remedy("give the folders of the runs and studies themselves"));
        }
        let mut inside = Vec::new();
        for entry in std::fs::read_dir(folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let hidden = path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && path.is_dir() {
                inside.push(path);
            }
        }
        inside.sort();
        for path in inside {
            match itself(&path)? {
                Some(source) => {
                    let first = self.seen.insert(path.canonicalize().map_err(failed)?);
                    self.found.extend(first.then_some(source));
                }
                None if path.join("config.toml").is_file() => self.found.push(Source::NotBegun(path)),
                None if deep > 1 => self.look(&path, deep - 1)?,
                None => {}
            }
        }
        Ok(())
    }
}

/// Whether a folder is neither a run nor a study, but may contain some.
pub fn holds_others(path: &Path) -> bool {
    path.is_dir() && !path.join("metrics.jsonl").is_file() && !path.join(study::FILE).is_file()
}
