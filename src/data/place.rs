//! The files of a prepared folder: their names, and where each is while the four are replaced as one.

use std::path::{Path, PathBuf};

pub const META_FILE: &str = "meta.json";
pub const TOKENIZER_FILE: &str = "tokenizer.json";
pub const TRAIN_FILE: &str = "train.bin";
pub const VALID_FILE: &str = "valid.bin";

/// The files of a prepared folder; `meta.json`, which describes the others, is last.
pub const OURS: [&str; 4] = [TOKENIZER_FILE, TRAIN_FILE, VALID_FILE, META_FILE];

/// Complete new files that have not all moved up yet. It appears by one rename, and is removed once empty.
pub const COMMITTED: &str = ".prepared";
/// The path of a file in a prepared folder.
pub fn locate(folder: &Path, name: &str) -> PathBuf {
    let committed = folder.join(COMMITTED).join(name);
    if committed.exists() { committed } else { folder.join(name) }
}

/// The path of the tokenizer in a prepared folder.
pub fn tokenizer_path(folder: &Path) -> PathBuf {
    locate(folder, TOKENIZER_FILE)
}
