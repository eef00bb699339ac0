//! A prepared folder, opened for training.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::folder::Moment;
use super::meta::{Dtype, Meta, Part};
use super::place::{TOKENIZER_FILE, TRAIN_FILE, VALID_FILE, locate};
use super::token_file::TokenFile;
use crate::fault::{Fault, Kind, Result};
use crate::numbers::{counted, thousands};

/// The held-out file of a nanoGPT folder.
const NANOGPT_VALID_FILE: &str = "val.bin";

/// How many rows a model's embedding may have beyond the tokenizer's vocabulary, to allow rounding up.
const PADDING_ROWS: usize = 127;

/// The two token files of a folder, checked and mapped.
#[derive(Clone, Debug)]
pub struct Corpus {
    folder: PathBuf,
    /// `None` for a nanoGPT folder, which has no `meta.json` (its `meta.pkl` is not read).
    pub meta: Option<Meta>,
    pub train: TokenFile,
    pub valid: TokenFile,
}

impl Corpus {
    /// The message if there is no folder.
    pub const MISSING: &str = "the data folder is missing";

    /// Opens the folder at `path` for a model that reads `sequence_length` tokens from a vocabulary of
    /// `vocab_size`.
    ///
    /// With a `meta.json`, the vocabulary must be the model's (which may have up to 127 extra rows of
    /// padding), the files must have the length it states, and the chunks must be a multiple of `sequence_length`.
    /// Without one, the files are `train.bin` and `val.bin` of `u16` as nanoGPT writes them, each one stream that
    /// is cut into consecutive sequences. In both cases every token id is checked once.
    ///
    /// # Errors
    /// [`Kind::Data`] if the folder is missing or its files do not fit; [`Kind::Io`].
    pub fn open(path: &Path, sequence_length: usize, vocab_size: usize) -> Result<Self> {
        if !path.is_dir() {
            return Err(Fault::new(Kind::Data, Self::MISSING)
                .at(path.display())
                .remedy("make it with `normfree prepare`, or set data.path to its location"));
        }
        // If the data are replaced meanwhile, open them again, so that old and new files are never mixed.
        loop {
            let before = Moment::of(path);
            let opened = Meta::read(path).and_then(|meta| match meta {
                Some(meta) => Self::open_prepared(path, sequence_length, vocab_size, meta),
                None => Self::open_nanogpt(path, sequence_length, vocab_size),
            });
            if Moment::of(path) == before {
                return opened;
            }
        }
    }

    /// The corpus with only `tokens` of its training tokens, if not all are wanted.
    ///
    /// # Errors
    /// [`Kind::Data`] if there are fewer, or if they are less than one sequence.
    pub fn with_train_tokens(self, tokens: Option<u64>) -> Result<Self> {
        let Some(tokens) = tokens else { return Ok(self) };
        Ok(Self { train: self.train.spread_over(tokens)?, ..self })
    }

    /// The path of the folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The contents of the folder's `tokenizer.json`; `None` if it has none.
    ///
    /// # Errors
    /// [`Kind::Io`].
    pub fn tokenizer(&self) -> Result<Option<Vec<u8>>> {
        let path = locate(&self.folder, TOKENIZER_FILE);
        match std::fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            read => read.map(Some).map_err(|e| Fault::io("read the tokenizer", &path, &e)),
        }
    }

    /// A number computed from the lengths of both files and from samples of them. Checkpoints of the second format identify
    /// their data by it alone; later formats use a [`DataSeal`](super::DataSeal).
    pub fn fingerprint(&self) -> u64 {
        let mut digest = Sha256::new();
        for file in [&self.train, &self.valid] {
            file.sample(&mut |bytes| digest.update(bytes));
        }
        let bytes = digest.finalize();
        u64::from_le_bytes(std::array::from_fn(|i| bytes[i]))
    }

    fn open_prepared(path: &Path, sequence_length: usize, vocab_size: usize, meta: Meta) -> Result<Self> {
        if vocab_size < meta.vocab_size || vocab_size > meta.vocab_size + PADDING_ROWS {
            return Err(Fault::new(Kind::Data, "the model and the data have different vocabularies")
                .at(path.display())
                .found(format!(
                    "a vocabulary of {} in the data, model.vocab_size = {vocab_size}",
                    counted(meta.vocab_size as u64, "token")
                ))
                .remedy(format!("set model.vocab_size = {}, or prepare the data again", meta.vocab_size)));
        }
        if !meta.chunk.is_multiple_of(sequence_length) {
            return Err(Fault::new(Kind::Data, "the chunks of the data do not divide into sequences")
                .at(path.display())
                .found(format!(
                    "chunks of {}, sequences of {sequence_length}",
                    counted(meta.chunk as u64, "token")
                ))
                .remedy("use a sequence length that divides the chunk, or prepare the data again"));
        }
        let open = |name: &str, part: Part| {
            let path = locate(path, name);
            let expected = part.tokens.saturating_mul(meta.dtype.bytes() as u64);
            let bytes = match std::fs::metadata(&path) {
                Ok(metadata) => metadata.len(),
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => 0,
                Err(e) => return Err(Fault::io("read the tokens", &path, &e)),
            };
            if bytes != expected || part.tokens != part.chunks.saturating_mul(meta.chunk as u64) {
                return Err(Fault::new(Kind::Data, "a token file is not as long as meta.json says")
                    .at(path.display())
                    .found(format!("{} instead of {}", counted(bytes, "byte"), thousands(expected)))
                    .remedy("it was cut short, replaced or removed: make the folder again with `normfree prepare --replace`"));
            }
            TokenFile::open(&path, meta.dtype, sequence_length, vocab_size)
        };
        let (train, valid) = (open(TRAIN_FILE, meta.train)?, open(VALID_FILE, meta.valid)?);
        Ok(Self { folder: path.to_owned(), meta: Some(meta), train, valid })
    }

    fn open_nanogpt(path: &Path, sequence_length: usize, vocab_size: usize) -> Result<Self> {
        let (train, valid) = (path.join(TRAIN_FILE), path.join(NANOGPT_VALID_FILE));
        if !train.is_file() || !valid.is_file() {
            return Err(Fault::new(Kind::Data, "the folder holds no prepared data")
                .at(path.display())
                .found(format!("neither meta.json nor both of {TRAIN_FILE} and {NANOGPT_VALID_FILE}"))
                .remedy("fill it with `normfree prepare`, or set data.path to another folder"));
        }
        if sequence_length == 0 {
            return Err(Fault::new(Kind::Data, "a sequence needs at least one token").at(path.display()));
        }
        let open = |path: &Path| TokenFile::open(path, Dtype::U16, sequence_length, vocab_size);
        Ok(Self { folder: path.to_owned(), meta: None, train: open(&train)?, valid: open(&valid)? })
    }
}
