//! Writing a token file: documents in, whole chunks out.

use std::io::{Read, Seek, SeekFrom};
use std::path::Path;

use super::meta::{Dtype, Part};
use super::whole_file::WholeFile;
use crate::fault::{Fault, Result};

/// Writes one part of a corpus. A document's tail that fills no chunk is dropped, or, when packing, goes on
/// into the next document with the end-of-text token between.
pub struct ChunkWriter {
    file: WholeFile,
    dtype: Dtype,
    chunk: usize,
    /// The end-of-text token, when packing.
    packed: Option<u32>,
    /// Tokens that fill no chunk yet.
    pending: Vec<u32>,
    pub part: Part,
    pub dropped_tokens: u64,
    /// Chunks there were when the current document began.
    chunks_before: u64,
    /// Documents that gave chunks, and how many the last of them gave.
    fruitful: u64,
    last_gave: u64,
}

impl ChunkWriter {
    /// Begins `folder/name`.
    pub fn create(
        folder: &Path,
        name: &str,
        dtype: Dtype,
        chunk: usize,
        packed: Option<u32>,
    ) -> Result<Self> {
        Ok(Self {
            file: WholeFile::create(folder, name)?,
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

    /// Goes on with the current document.
    pub fn push(&mut self, tokens: &[u32]) -> Result<()> {
        self.pending.extend_from_slice(tokens);
        let whole = self.pending.len() / self.chunk * self.chunk;
        self.file.write(&to_bytes(&self.pending[..whole], self.dtype))?;
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

    /// The chunks of the last document that gave any, if others gave some too, and documents are apart.
    pub fn last_document(&self) -> Option<u64> {
        (self.fruitful > 1 && self.packed.is_none()).then_some(self.last_gave)
    }

    /// Moves the last `chunks` chunks to the end of `to`.
    pub fn move_end(&mut self, to: &mut Self, chunks: u64) -> Result<()> {
        let span = (self.chunk * self.dtype.bytes()) as u64;
        let path = self.file.target().to_path_buf();
        let io = |e: std::io::Error| Fault::io("move tokens between two files", &path, &e);
        let file = self.file.flushed()?;
        let begin = (self.part.chunks - chunks) * span;
        file.seek(SeekFrom::Start(begin)).map_err(io)?;
        let mut chunk = vec![0; span as usize];
        for _ in 0..chunks {
            file.read_exact(&mut chunk).map_err(io)?;
            to.file.write(&chunk)?;
        }
        file.set_len(begin).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        self.add_chunks(-(chunks as i64));
        to.add_chunks(chunks as i64);
        Ok(())
    }

    /// Drops what fills no chunk.
    pub fn drop_pending(&mut self) {
        self.dropped_tokens += self.pending.len() as u64;
        self.pending.clear();
    }

    /// Gives the file its name.
    pub fn finish(self) -> Result<()> {
        self.file.finish()
    }

    fn add_chunks(&mut self, chunks: i64) {
        self.part.chunks = self.part.chunks.saturating_add_signed(chunks);
        self.part.tokens = self.part.chunks * self.chunk as u64;
    }
}

/// Writes `tokens` to `path` as they are: a token file as nanoGPT or a test wants it.
///
/// Panics where a token does not fit `dtype`.
pub fn write_token_file(path: &Path, tokens: &[u32], dtype: Dtype) -> Result<()> {
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let mut file = WholeFile::create(folder, &name)?;
    for block in tokens.chunks(1 << 16) {
        file.write(&to_bytes(block, dtype))?;
    }
    file.finish()
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
