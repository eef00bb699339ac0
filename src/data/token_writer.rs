//! Writing a token file: documents in, whole chunks out.

use std::fs::File;
use std::io::{BufWriter, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use super::meta::{Dtype, Part};
use crate::fault::{Fault, Result};
use crate::files::replace_with;

/// Writes one part of a corpus. A document's tail that fills no chunk is dropped or, when packing, continues
/// with the next document after an end-of-text token.
pub struct ChunkWriter {
    path: PathBuf,
    file: BufWriter<File>,
    dtype: Dtype,
    chunk: usize,
    /// The end-of-text token, when packing.
    packed: Option<u32>,
    /// Tokens that do not fill a chunk yet.
    pending: Vec<u32>,
    pub part: Part,
    pub dropped_tokens: u64,
    /// The number of chunks when the current document began.
    chunks_before: u64,
    /// Documents that gave chunks, and how many chunks the last of them gave.
    fruitful: u64,
    last_gave: u64,
}

impl ChunkWriter {
    /// Creates the file `path`, which must not exist.
    pub fn create(path: PathBuf, dtype: Dtype, chunk: usize, packed: Option<u32>) -> Result<Self> {
        // Opened for reading too, because chunks may be moved to another part at the end.
        let file = File::options().read(true).write(true).create_new(true).open(&path);
        let file = file.map_err(|e| Fault::io("write the tokens", &path, &e))?;
        Ok(Self {
            path,
            file: BufWriter::with_capacity(1 << 18, file),
            dtype,
            chunk,
            packed,
            pending: Vec::new(),
            part: Part::default(),
            dropped_tokens: 0,
            chunks_before: 0,
            fruitful: 0,
            last_gave: 0,
        })
    }

    /// Continues the current document.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        self.pending.extend_from_slice(tokens);
        let whole = self.pending.len() / self.chunk * self.chunk;
        let bytes = to_bytes(&self.pending[..whole], self.dtype);
        self.file.write_all(&bytes).map_err(|e| self.failed(&e))?;
        self.pending.drain(..whole);
        self.add_chunks((whole / self.chunk) as i64);
        Ok(())
    }

    /// Ends the current document.
    pub fn end_document(&mut self) -> Result<()> {
        match self.packed {
            Some(end_of_text) => self.push(&[end_of_text])?,
            None => self.drop_pending(),
        }
        self.part.documents += 1;
        let gave = self.part.chunks - self.chunks_before;
        self.chunks_before = self.part.chunks;
        if gave > 0 {
            self.fruitful += 1;
            self.last_gave = gave;
        }
        Ok(())
    }

    /// The chunks of the last document that gave any, if others gave some too and documents are separate.
    pub fn last_document(&self) -> Option<u64> {
        (self.fruitful > 1 && self.packed.is_none()).then_some(self.last_gave)
    }

    /// Moves the last `chunks` chunks to the end of `to`.
    pub fn move_end(&mut self, to: &mut Self, chunks: u64) -> Result<()> {
        let span = (self.chunk * self.dtype.bytes()) as u64;
        let begin = (self.part.chunks - chunks) * span;
        let mut move_them = || {
            self.file.flush()?;
            let file = self.file.get_mut();
            file.seek(SeekFrom::Start(begin))?;
            let mut chunk = vec![0; span as usize];
            for _ in 0..chunks {
                file.read_exact(&mut chunk)?;
                to.file.write_all(&chunk)?;
            }
            file.set_len(begin)?;
            file.seek(SeekFrom::End(0)).map(|_| ())
        };
        move_them().map_err(|e| Fault::io("move tokens between two files", &self.path, &e))?;
        self.add_chunks(-(chunks as i64));
        to.add_chunks(chunks as i64);
        Ok(())
    }

    /// Drops the tokens that do not fill a chunk.
    pub fn drop_pending(&mut self) {
        self.dropped_tokens += self.pending.len() as u64;
        self.pending.clear();
    }

    /// Syncs the file to disk.
    pub fn finish(mut self) -> Result<()> {
        self.file.flush().and_then(|()| self.file.get_ref().sync_all()).map_err(|e| self.failed(&e))
    }

    fn failed(&self, error: &std::io::Error) -> Fault {
        Fault::io("write the tokens", &self.path, error)
    }

    fn add_chunks(&mut self, chunks: i64) {
        self.part.chunks = self.part.chunks.saturating_add_signed(chunks);
        self.part.tokens = self.part.chunks * self.chunk as u64;
    }
}

/// Writes `tokens` to `path` unchanged: a token file as nanoGPT or a test needs it.
///
/// # Panics
/// If a token does not fit `dtype`.
///
/// # Errors
/// [`Kind::Io`](crate::fault::Kind::Io).
pub fn write_token_file(path: &Path, tokens: &[u32], dtype: Dtype) -> Result<()> {
    replace_with(path, |out| {
        for block in tokens.chunks(1 << 16) {
            let written = out.write_all(&to_bytes(block, dtype));
            written.map_err(|e| Fault::io("write the tokens", path, &e))?;
        }
        Ok(())
    })
}

fn to_bytes(tokens: &[u32], dtype: Dtype) -> Vec<u8> {
    match dtype {
        Dtype::U16 => tokens
            .iter()
            .flat_map(|&token| {
                u16::try_from(token).expect("the type was chosen for the vocabulary").to_le_bytes()
            })
            .collect(),
        Dtype::U32 => tokens.iter().flat_map(|token| token.to_le_bytes()).collect(),
    }
}
