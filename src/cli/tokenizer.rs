//! The tokenizer of a run, and text for it.

use super::located::Located;
use super::{Global, thousands};
use crate::data::{LoadedTokenizer, tokenizer_path};
use crate::fault::{Fault, Kind, Result};
use crate::files::sha256;
use crate::train::places;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The tokenizer that the run's data was prepared with: the named one, else the run's own copy, else the one in the
/// data folder.
///
/// # Errors
/// [`Kind::Data`] if there is none, or if it is not the run's.
pub(super) fn tokenizer(given: Option<&Path>, located: &Located, global: &Global) -> Result<LoadedTokenizer> {
    let Located { run, config, checkpoint, .. } = located;
    let known = checkpoint.state().data.as_ref().and_then(|data| data.tokenizer.as_ref());
    let own = || {
        let of_data = places::data(run, config).into_iter().map(|folder| tokenizer_path(&folder));
        let all: Vec<PathBuf> = std::iter::once(run.tokenizer()).chain(of_data).collect();
        let is_known = |path: &&PathBuf| known.is_some_and(|known| is_file_of(path, known));
        let best = all.iter().find(is_known).or_else(|| all.iter().find(|path| path.exists()));
        best.unwrap_or(&all[0]).clone()
    };
    let path = given.map_or_else(own, Path::to_owned);
    let missing = "give the tokenizer.json that the run's data was prepared with: --tokenizer FILE";
    if !path.exists() {
        return Err(Fault::new(Kind::Data, "there is no tokenizer to encode and decode text with")
            .at(path.display())
            .remedy(missing));
    }
    let tokenizer = LoadedTokenizer::read(&path)?;
    if tokenizer.vocab_size > config.model.vocab_size {
        return Err(Fault::new(Kind::Data, "the tokenizer is not that of the run's data")
            .at(path.display())
            .found(format!(
                "a tokenizer of {} tokens, a model of {}",
                thousands(tokenizer.vocab_size as u64),
                thousands(config.model.vocab_size as u64)
            ))
            .remedy(missing));
    }
    if known.is_some_and(|known| !is_file_of(&path, known)) {
        global.note(format!(
            "{} is not the tokenizer that the run was trained with: its tokens may stand for different text",
            path.display()
        ));
    }
    Ok(tokenizer)
}

fn is_file_of(path: &Path, digest: &str) -> bool {
    std::fs::read(path).is_ok_and(|bytes| sha256(&bytes) == digest)
}

/// The text that is typed, or that a file has; `-` is standard input. `None` if neither is given.
///
/// # Errors
/// [`Kind::Io`] if the file cannot be read, [`Kind::Data`] if it is not UTF-8.
pub(super) fn prompt(typed: Option<&str>, file: Option<&Path>) -> Result<Option<String>> {
    let Some(path) = file else { return Ok(typed.map(str::to_owned)) };
    let mut bytes = Vec::new();
    let read = match path.to_str() {
        Some("-") => io::stdin().lock().read_to_end(&mut bytes).map(|_| ()),
        _ => std::fs::read(path).map(|content| bytes = content),
    };
    read.map_err(|e| Fault::io("read the prompt", path, &e))?;
    let text = String::from_utf8(bytes).map_err(|e| {
        Fault::new(Kind::Data, "the prompt is not UTF-8").at(path.display()).found(e.utf8_error())
    })?;
    Ok(Some(text))
}
