//! Sizes that a study file leaves to its data: the vocabulary and the positions, as `train` takes them.

use std::path::Path;

use crate::config::Draft;
use crate::data::{Meta, PrepareOptions};
use crate::fault::Result;

/// Whether there are no data at a path, or only a part of them.
pub fn is_missing(path: &Path) -> bool {
    let nanogpt = path.join("val.bin").is_file();
    !path.is_dir() || (!nanogpt && matches!(Meta::read(path), Ok(None)))
}

/// Fills in the sizes that were not typed. Returns whether they are a guess: there are no data yet, so they are those that
/// the data are going to be prepared with, and a short text may have fewer tokens in its vocabulary.
///
/// # Errors
/// Those of [`Meta::read`].
pub(super) fn follow(draft: &mut Draft) -> Result<bool> {
    let Some(path) = draft.data().map(Path::new).filter(|_| !draft.has_sizes()) else { return Ok(false) };
    if is_missing(path) {
        let (vocab_size, chunk) = PrepareOptions::sizes(draft.sizes());
        draft.follow(vocab_size, chunk);
        return Ok(true);
    }
    Meta::read(path)?.iter().for_each(|meta| draft.follow(meta.vocab_size, meta.chunk));
    Ok(false)
}
