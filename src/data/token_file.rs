//! A memory-mapped token file: equal sequences of tokens back to back.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use memmap2::Mmap;

use super::meta::Dtype;
use crate::fault::{Fault, Kind, Result};
use crate::files::sha256;
use crate::numbers::{counted, thousands};

/// A mapped `.bin` file cut into sequences. A clone shares the mapping.
#[derive(Clone, Debug)]
pub struct TokenFile {
    path: PathBuf,
    bytes: Arc<Mmap>,
    dtype: Dtype,
    sequence_length: usize,
    /// How many sequences are used, if not all.
    used: Option<usize>,
}

impl TokenFile {
    /// Maps the file at `path` and checks it: a whole number of tokens, at least one sequence of
    /// `sequence_length` of them, each below `vocab_size`. A last short sequence is left unused.
    ///
    /// # Errors
    /// [`Kind::Data`] if the file does not meet this; [`Kind::Io`].
    #[allow(unsafe_code)]
    pub fn open(path: &Path, dtype: Dtype, sequence_length: usize, vocab_size: usize) -> Result<Self> {
        let io = |e: &std::io::Error| Fault::io("read the tokens", path, e);
        let file = File::open(path).map_err(|e| io(&e))?;
        // SAFETY: the mapping is read-only, and this program replaces files by renaming, never by
        // rewriting in place; another program that truncates the file meanwhile stops this process.
        let bytes = unsafe { Mmap::map(&file) }.map_err(|e| io(&e))?;
        if bytes.len() % dtype.bytes() != 0 {
            return Err(Fault::new(Kind::Data, "a token file ends within a token")
                .at(path.display())
                .found(format!("{}, at {} per token", counted(bytes.len() as u64, "byte"), dtype.bytes()))
                .remedy("the file was cut short, or is of another type: make it again"));
        }
        let file =
            Self { path: path.to_path_buf(), bytes: Arc::new(bytes), dtype, sequence_length, used: None };
        if file.sequences() == 0 {
            return Err(Fault::new(Kind::Data, "a token file holds less than one sequence")
                .at(path.display())
                .found(format!(
                    "{}, where a sequence has {sequence_length}",
                    counted(file.tokens() as u64, "token")
                ))
                .remedy("prepare more text, or train on shorter sequences"));
        }
        file.check_tokens(vocab_size)?;
        Ok(file)
    }

    /// The file with only so many whole sequences as `tokens` make, spread evenly over it.
    ///
    /// # Errors
    /// [`Kind::Data`] if it holds fewer tokens, or a sequence more.
    pub fn spread_over(self, tokens: u64) -> Result<Self> {
        let refused = |found: String, remedy: &str| {
            Err(Fault::new(Kind::Data, "data.train_tokens does not fit the data")
                .at(self.path.display())
                .found(found)
                .remedy(remedy))
        };
        let used = usize::try_from(tokens).unwrap_or(usize::MAX) / self.sequence_length;
        if used == 0 {
            let found =
                format!("{}, where a sequence has {}", counted(tokens, "token"), self.sequence_length);
            return refused(found, "ask for at least one sequence");
        }
        if used > self.sequences() {
            let found =
                format!("{} asked for, {} there", counted(tokens, "token"), thousands(self.tokens() as u64));
            return refused(found, "ask for fewer, or leave the key out");
        }
        Ok(Self { used: Some(used), ..self })
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// SHA-256 of the whole file.
    pub fn sha256(&self) -> String {
        sha256(&self.bytes)
    }

    /// The type of its tokens.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Passes the length in bytes, then pieces from all over the file, to `take`: the same for the same content, at a cost
    /// independent of its size.
    pub(super) fn sample(&self, take: &mut dyn FnMut(&[u8])) {
        const PIECES: usize = 256;
        const PIECE: usize = 4096;
        let bytes = &self.bytes;
        take(&(bytes.len() as u64).to_le_bytes());
        let step = (bytes.len() / PIECES).max(PIECE);
        for start in (0..bytes.len()).step_by(step) {
            take(&bytes[start..bytes.len().min(start + PIECE)]);
        }
    }

    /// The number of tokens.
    pub fn tokens(&self) -> usize {
        self.bytes.len() / self.dtype.bytes()
    }

    /// The size of the file in bytes.
    pub fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Tokens per sequence.
    pub fn sequence_length(&self) -> usize {
        self.sequence_length
    }

    /// The number of whole sequences that are used.
    pub fn sequences(&self) -> usize {
        self.used.unwrap_or_else(|| self.whole())
    }

    fn whole(&self) -> usize {
        self.tokens() / self.sequence_length
    }

    /// Writes sequence `index` to `out` `[T]`. Panics past the last one, and if `out` is not `T` long.
    pub fn sequence(&self, index: usize, out: &mut [u32]) {
        assert_eq!(out.len(), self.sequence_length, "room for one sequence");
        assert!(index < self.sequences(), "the file has no sequence {index}");
        let index = match self.used {
            Some(used) => (index as u128 * self.whole() as u128 / used as u128) as usize,
            None => index,
        };
        let span = self.sequence_length * self.dtype.bytes();
        let bytes = &self.bytes[index * span..(index + 1) * span];
        match self.dtype {
            Dtype::U16 => {
                for (token, pair) in out.iter_mut().zip(bytes.chunks_exact(2)) {
                    *token = u32::from(u16::from_le_bytes([pair[0], pair[1]]));
                }
            }
            Dtype::U32 => {
                for (token, four) in out.iter_mut().zip(bytes.chunks_exact(4)) {
                    *token = u32::from_le_bytes([four[0], four[1], four[2], four[3]]);
                }
            }
        }
    }

    /// Checks every token once; searches for the position only if one is out of range.
    fn check_tokens(&self, vocab_size: usize) -> Result<()> {
        const BLOCK: usize = 1 << 16;
        for (number, block) in self.bytes.chunks(BLOCK).enumerate() {
            let wrong = match self.dtype {
                Dtype::U16 => first_past(block.chunks_exact(2), vocab_size, |b| {
                    u32::from(u16::from_le_bytes([b[0], b[1]]))
                }),
                Dtype::U32 => first_past(block.chunks_exact(4), vocab_size, |b| {
                    u32::from_le_bytes([b[0], b[1], b[2], b[3]])
                }),
            };
            if let Some((place, token)) = wrong {
                let position = number * BLOCK / self.dtype.bytes() + place;
                return Err(Fault::new(Kind::Data, "a token id is out of range")
                    .at(format!("{}, token {position}", self.path.display()))
                    .found(format!("id {token}, where the vocabulary has {vocab_size}"))
                    .remedy("set model.vocab_size to the tokenizer's, or prepare the data again"));
            }
        }
        Ok(())
    }
}

/// The first token of a block that is not below `vocab_size`, and its position.
fn first_past<'a>(
    tokens: impl Iterator<Item = &'a [u8]> + Clone,
    vocab_size: usize,
    read: impl Fn(&[u8]) -> u32,
) -> Option<(usize, u32)> {
    // Compares only the largest, without a branch per token, which the compiler vectorizes.
    let largest = tokens.clone().map(&read).max()?;
    if (largest as usize) < vocab_size {
        return None;
    }
    tokens.map(read).enumerate().find(|(_, token)| *token as usize >= vocab_size)
}
