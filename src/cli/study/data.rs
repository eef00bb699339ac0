//! The data of a study, before its first run: present, prepared, or refused.

use super::super::{Global, prepare, say};
use crate::config::Config;
use crate::data::{Corpus, PrepareOptions};
use crate::fault::{Fault, Kind, Result};
use crate::study::{Grid, Run, is_missing};
use crate::train::loader::check_start;
use crate::train::run_folder::RunFolder;
use std::collections::BTreeSet;
use std::fs::{File, TryLockError};
use std::path::Path;

/// A lock held while a process prepares data.
const LOCK: &str = "study.lock";

/// Prepares the data of `runs` that are missing, if the study names their sources. Returns whether any were.
pub(super) fn prepare_missing(grid: &Grid, runs: &[&Run], global: &Global) -> Result<bool> {
    std::fs::create_dir_all(&grid.out).map_err(|e| Fault::io("make the study's folder", &grid.out, &e))?;
    let mut any = false;
    for config in distinct(runs) {
        if is_missing(Path::new(&config.data.path)) {
            prepare_data(grid, config, global)?;
            any = true;
        }
    }
    Ok(any)
}

/// Opens the data of all `runs` once, so that bad data ends the study instead of each of its runs.
pub(super) fn check(grid: &Grid, runs: &[&Run]) -> Result<()> {
    distinct(runs).into_iter().try_for_each(|config| open(config).map(drop))?;
    check_weights(grid, runs)
}

/// Opens the initial weights of runs that have not started yet, once for each model.
fn check_weights(grid: &Grid, runs: &[&Run]) -> Result<()> {
    let mut seen = BTreeSet::new();
    let starting = runs.iter().filter(|run| run.config.train.init_from.is_some());
    for run in starting.filter(|run| !RunFolder::is_at(&grid.path(run))) {
        if seen.insert((run.config.train.init_from.clone(), run.configuration.clone())) {
            check_start(&run.config)?;
        }
    }
    Ok(())
}

/// Opens the data of a configuration.
pub(super) fn open(config: &Config) -> Result<Corpus> {
    Corpus::open(Path::new(&config.data.path), config.train.sequence_length, config.model.vocab_size)?
        .with_train_tokens(config.data.train_tokens)
}

/// One configuration of each data, sequence length and vocabulary.
fn distinct<'a>(runs: &[&'a Run]) -> Vec<&'a Config> {
    let mut seen = BTreeSet::new();
    let configs = runs.iter().map(|run| &run.config);
    configs
        .filter(|config| {
            let data = (config.data.path.clone(), config.data.train_tokens);
            seen.insert((data, config.train.sequence_length, config.model.vocab_size))
        })
        .collect()
}

/// Prepares the data of a configuration, unless another process is already doing so.
fn prepare_data(grid: &Grid, config: &Config, global: &Global) -> Result<()> {
    let folder = Path::new(&config.data.path);
    let Some(sources) = &grid.prepare else {
        return Err(Fault::new(Kind::Data, "the data folder is missing").at(folder.display()).remedy(
            format_args!(
                "make it with `normfree prepare SOURCE --out {} --vocab-size {} --chunk {}`, or set data.path to its location",
                folder.display(),
                config.model.vocab_size,
                config.train.sequence_length
            ),
        ));
    };
    // Released with the file, however this process ends.
    let _lock = lock(&grid.out.join(LOCK), global)?;
    if !is_missing(folder) {
        return Ok(());
    }
    let options = PrepareOptions {
        vocab_size: config.model.vocab_size,
        chunk: config.train.sequence_length,
        // Left by an interrupted preparation.
        replace: true,
        ..PrepareOptions::new(sources.clone(), folder.to_owned())
    };
    let meta = prepare::with_progress(&options, global.quiet)?;
    say(prepare::summary(&meta, folder))
}

fn lock(path: &Path, global: &Global) -> Result<File> {
    let failed = |e: &std::io::Error| Fault::io("lock the study's folder", path, e);
    let file = File::options().write(true).create(true).truncate(false).open(path).map_err(|e| failed(&e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            global.note("another process is preparing the data; waiting for it");
            file.lock().map_err(|e| failed(&e))?;
        }
        Err(TryLockError::Error(e)) => return Err(failed(&e)),
    }
    Ok(file)
}
