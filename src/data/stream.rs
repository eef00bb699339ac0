//! The bytes of a file: unpacked, hashed and counted.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek, SeekFrom, Take};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::bufread::MultiGzDecoder;
use ruzstd::decoding::errors::{FrameDecoderError, ReadFrameHeaderError};
use ruzstd::decoding::{BlockDecodingStrategy, FrameDecoder};
use sha2::{Digest, Sha256};

use super::entry::{Entry, Place};
use super::kinds::Packing;
use crate::fault::{Fault, Kind, Result, contain};

/// Bytes read at a time.
const BLOCK: usize = 64 << 10;

/// Opens the file of an entry, or the copy of a pipe, at its beginning.
///
/// # Errors
/// [`Kind::Io`].
pub fn open(place: &Place, path: &Path) -> Result<File> {
    let opened = match place {
        Place::Path => File::open(path),
        // The handles share one position, and no two readers of a copy are open at once.
        Place::Copy(file) => {
            file.try_clone().and_then(|mut file| file.seek(SeekFrom::Start(0)).map(|_| file))
        }
    };
    opened.map_err(|e| Fault::io("read the text", path, &e))
}

/// A stream of a file's unpacked bytes.
pub struct Stream {
    source: BufReader<Take<Hashing>>,
    path: PathBuf,
    packing: Packing,
    position: Arc<AtomicU64>,
    /// Whether the end of the file is left out.
    pub cut: bool,
}

impl Stream {
    /// Opens the file of `entry`.
    pub fn open(entry: &Entry) -> Result<Self> {
        let position = Arc::new(AtomicU64::new(0));
        let file = Counting { file: open(&entry.place, &entry.path)?, position: position.clone() };
        let source = Hashing { source: unpacked(file, entry.packing), hasher: Sha256::new(), bytes: 0 };
        Ok(Self {
            source: BufReader::with_capacity(BLOCK, source.take(entry.limit)),
            path: entry.path.clone(),
            packing: entry.packing,
            position,
            cut: entry.cut,
        })
    }

    /// Unpacked bytes that were read.
    pub fn bytes(&self) -> u64 {
        self.source.get_ref().get_ref().bytes
    }

    /// Bytes of the file that were read.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Relaxed)
    }

    /// The SHA-256 of the unpacked bytes that were read.
    pub fn digest(&self) -> [u8; 32] {
        self.source.get_ref().get_ref().hasher.clone().finalize().into()
    }

    /// The next bytes, which [`Self::consume`] takes; empty at the end.
    pub fn fill(&mut self) -> Result<&[u8]> {
        // Filled twice, because the error of the first needs what the bytes of the second borrow.
        match self.source.fill_buf() {
            Ok(_) => {}
            Err(e) => return Err(fault(&self.path, self.packing, &e)),
        }
        Ok(self.source.buffer())
    }

    /// Takes bytes of [`Self::fill`].
    pub fn consume(&mut self, bytes: usize) {
        self.source.consume(bytes);
    }

    /// Reads one byte, if there is one.
    pub fn byte(&mut self) -> Result<Option<u8>> {
        let byte = self.fill()?.first().copied();
        self.consume(usize::from(byte.is_some()));
        Ok(byte)
    }

    /// Appends up to `limit` bytes to `into`, until after a line break. Returns how many.
    pub fn line(&mut self, limit: u64, into: &mut Vec<u8>) -> Result<u64> {
        let read = (&mut self.source).take(limit).read_until(b'\n', into);
        read.map(|read| read as u64).map_err(|e| fault(&self.path, self.packing, &e))
    }
}

impl Read for Stream {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.source.read(into)
    }
}

/// The first bytes of a file once unpacked, at most `length` of them, and how it is packed.
///
/// # Errors
/// [`Kind::Data`] if the packing is damaged; [`Kind::Io`].
pub fn head(place: &Place, path: &Path, length: usize) -> Result<(Vec<u8>, Packing)> {
    let mut file = open(place, path)?;
    let mut head = Vec::new();
    (&mut file)
        .take(length as u64)
        .read_to_end(&mut head)
        .map_err(|e| Fault::io("read the text", path, &e))?;
    let packing = Packing::of(&head);
    if packing == Packing::None {
        return Ok((head, packing));
    }
    let mut inside = Vec::new();
    let file = Counting { file: open(place, path)?, position: Arc::default() };
    let read = unpacked(file, packing).take(length as u64).read_to_end(&mut inside);
    read.map_err(|e| fault(path, packing, &e))?;
    Ok((inside, packing))
}

/// A failure to read: of the system, or because the packing is damaged.
fn fault(path: &Path, packing: Packing, error: &std::io::Error) -> Fault {
    if packing == Packing::None || error.raw_os_error().is_some() {
        return Fault::io("read the text", path, error);
    }
    let found = match error.kind() {
        ErrorKind::UnexpectedEof => format!("the end within its {} data", packing.name()),
        _ => format!("{} data that cannot be unpacked ({error})", packing.name()),
    };
    Fault::new(Kind::Data, "a compressed file is damaged")
        .at(path.display())
        .found(found)
        .remedy("make or download it again")
}

fn unpacked(file: Counting, packing: Packing) -> Box<dyn Read + Send> {
    match packing {
        Packing::None => Box::new(file),
        Packing::Gzip => Box::new(MultiGzDecoder::new(BufReader::with_capacity(BLOCK, file))),
        Packing::Zstandard => Box::new(Frames {
            source: BufReader::with_capacity(BLOCK, file),
            decoder: FrameDecoder::new(),
            within: false,
        }),
    }
}

/// A file that counts the bytes read.
struct Counting {
    file: File,
    position: Arc<AtomicU64>,
}

impl Read for Counting {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.position.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

/// A reader that hashes and counts the bytes read.
struct Hashing {
    source: Box<dyn Read + Send>,
    hasher: Sha256,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.source.read(into)?;
        self.hasher.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}

/// Zstandard's frames, one after the other; frames to skip are skipped.
struct Frames {
    source: BufReader<Counting>,
    decoder: FrameDecoder,
    /// Whether a frame has begun and not ended.
    within: bool,
}

impl Frames {
    /// Begins the next frame. Returns whether there is one.
    fn begin(&mut self) -> std::io::Result<bool> {
        while !self.source.fill_buf()?.is_empty() {
            match self.decoder.reset(&mut self.source) {
                Ok(()) => return Ok(true),
                Err(FrameDecoderError::ReadFrameHeaderError(ReadFrameHeaderError::SkipFrame {
                    length,
                    ..
                })) => {
                    let skipped =
                        std::io::copy(&mut (&mut self.source).take(u64::from(length)), &mut std::io::sink())?;
                    if skipped < u64::from(length) {
                        return Err(ErrorKind::UnexpectedEof.into());
                    }
                }
                Err(e) => return Err(broken(e)),
            }
        }
        Ok(false)
    }

    fn step(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        loop {
            if !self.within {
                if !self.begin()? {
                    return Ok(0);
                }
                self.within = true;
            }
            while self.decoder.can_collect() == 0 && !self.decoder.is_finished() {
                let one = BlockDecodingStrategy::UptoBlocks(1);
                self.decoder.decode_blocks(&mut self.source, one).map_err(broken)?;
            }
            let read = self.decoder.read(into)?;
            if self.decoder.is_finished() && self.decoder.can_collect() == 0 {
                self.within = false;
                let stored = self.decoder.get_checksum_from_data();
                if stored.is_some() && stored != self.decoder.get_calculated_checksum() {
                    return Err(std::io::Error::other("a checksum that does not match"));
                }
            }
            if read > 0 {
                return Ok(read);
            }
        }
    }
}

/// A damaged frame: the library's words, or the end of the file within it.
fn broken(error: FrameDecoderError) -> std::io::Error {
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(e) = source {
        if e.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == ErrorKind::UnexpectedEof) {
            return ErrorKind::UnexpectedEof.into();
        }
        source = e.source();
    }
    std::io::Error::other(error.to_string())
}

impl Read for Frames {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        // The library may fail on damaged input.
        contain(|| self.step(into)).unwrap_or_else(|panic| Err(std::io::Error::other(panic)))
    }
}
