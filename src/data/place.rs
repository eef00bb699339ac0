//! The files of a prepared folder: what they are called, and where each lies while four are replaced as one.

use std::path::{Path, PathBuf};

pub const META_FILE: &str = "meta.json";
pub const TOKENIZER_FILE: &str = "tokenizer.json";
pub const TRAIN_FILE: &str = "train.bin";
pub const VALID_FILE: &str = "valid.bin";

/// The files of a prepared folder; `meta.json` last, which says what the others hold.
pub const OURS: [&str; 4] = [TOKENIZER_FILE, TRAIN_FILE, VALID_FILE, META_FILE];

/// Whole new files that have not all moved up yet. It appears by one rename, and is no more once it is empty.
pub const COMMITTED: &str = ".prepared";
/// Where a file of a prepared folder lies.
pub fn locate(folder: &Path, name: &str) -> PathBuf {
    let committed = folder.join(COMMITTED).join(name);
    if committed.exists() { committed } else { folder.join(name) }
}

/// Where the tokenizer of a prepared folder lies.
pub fn tokenizer_path(folder: &Path) -> PathBuf {
    locate(folder, TOKENIZER_FILE)
}
