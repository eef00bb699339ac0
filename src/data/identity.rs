//! Which text and which options a folder would be prepared from, without reading the text.

use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest, Sha256};

use super::meta::Meta;
use super::place::TRAIN_FILE;
use super::prepare::PrepareOptions;
use super::sources::{Wanted, list};
use crate::fault::Result;
use crate::files::hex;

/// A digest of the files of the sources (paths, lengths and times of their last change) and of the options: other than before
/// if `prepare` would give other data.
///
/// # Errors
/// Those of listing the sources.
pub fn identity(options: &PrepareOptions) -> Result<String> {
    let wanted = Wanted {
        sources: &options.sources,
        extensions: &options.extensions,
        column: options.column.as_deref(),
        all_files: options.all_files,
        max_bytes: options.max_bytes,
        seed: options.seed,
    };
    let mut digest = Sha256::new();
    let PrepareOptions { vocab_size, chunk, tokenizer, pack, valid_share, seed, column, end_of_text, .. } =
        options;
    digest.update(format!(
        "{vocab_size} {chunk} {tokenizer:?} {pack} {valid_share} {seed} {column:?} {end_of_text:?}"
    ));
    for entry in list(wanted, &options.out)?.entries {
        let changed = std::fs::metadata(&entry.path).and_then(|file| file.modified());
        let since = changed.ok().and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
        digest.update(format!("\n{} {} {since:?}", entry.path.display(), entry.bytes));
    }
    Ok(hex(&digest.finalize()))
}

/// Whether a folder holds tokens: of `prepare`, or nanoGPT's.
pub fn is_prepared(folder: &Path) -> bool {
    folder.is_dir()
        && (folder.join(TRAIN_FILE).is_file() || Meta::read(folder).is_ok_and(|meta| meta.is_some()))
}
