//! Tokenizers that a user names.

use crate::runner::{corpus, run};
use normfree::data::LoadedTokenizer;
use normfree::fault::{Fault, Kind};
use std::fs;
use std::path::Path;

/// Reads it, then encodes and decodes.
fn used(path: &Path) -> Result<(), Fault> {
    let tokenizer = LoadedTokenizer::read(path)?;
    let tokens = tokenizer.encode_one("def f(x):\n    return x * 2 + naïve – 🙂\u{0}<|endoftext|>")?;
    let mut decode = tokenizer.decoder();
    for token in tokens.into_iter().chain(0..tokenizer.vocab_size.min(300) as u32) {
        decode(token)?;
    }
    Ok(())
}

#[test]
fn tokenizers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokenizer.json");
    run("tokenizers", &corpus("tokenizer"), |input| {
        fs::write(&path, input).unwrap();
        match used(&path) {
            Err(fault) if fault.kind != Kind::Data => Err(format!("{:?}: {fault}", fault.kind)),
            _ => Ok(()),
        }
    });
}
