//! Documents, read in pieces of bounded size.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Take};
use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::encoding::{self, BYTE_ORDER_MARK};
use super::json_line;
use super::listing::{Entry, Format};
use crate::fault::{Fault, Kind, Result};

/// The maximum length of a piece in bytes.
pub const PIECE: usize = 256 << 10;

/// The longest line of a JSON lines file. It is parsed as a whole, which takes up to four times its length in memory.
pub const LONGEST_LINE: u64 = 64 << 20;

/// A part of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The line of a JSON lines file, from 1; 0 if the file is one document.
    pub line: u64,
    pub text: String,
    /// Whether the document ends with this piece.
    pub last: bool,
}

/// What a reader finds next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next {
    Piece(Piece),
    End,
    /// The whole file must be left out; says what it is instead of UTF-8.
    NotUtf8(&'static str),
}

/// The lines of a JSON lines file without a document.
#[derive(Debug, Default)]
pub struct SkippedLines {
    pub not_utf8: u64,
    /// Not a JSON object with a text.
    pub malformed: u64,
    /// The first line of either kind, and what is wrong with it.
    pub first: Option<(u64, String)>,
}

/// Reads the documents of one file in order.
pub struct Reader {
    source: BufReader<Take<Hashing>>,
    path: PathBuf,
    format: Format,
    cut: bool,
    /// The text read so far: of the file, or of the current line's document.
    text: String,
    /// How much of `text` has been returned.
    given: usize,
    /// Whether `text` belongs to a document whose last piece has not been returned.
    open: bool,
    /// Whether any of the file was read.
    begun: bool,
    line: u64,
    pub skipped: SkippedLines,
}

impl Reader {
    /// Opens the file of `entry`.
    pub fn open(entry: &Entry) -> Result<Self> {
        let file = File::open(&entry.path).map_err(|e| Fault::io("read the text", &entry.path, &e))?;
        let source = Hashing { file, hasher: Sha256::new(), bytes: 0 }.take(entry.bytes);
        Ok(Self {
            source: BufReader::with_capacity(64 << 10, source),
            path: entry.path.clone(),
            format: entry.format,
            cut: entry.cut,
            text: String::new(),
            given: 0,
            open: entry.format == Format::Text,
            begun: false,
            line: 0,
            skipped: SkippedLines::default(),
        })
    }

    /// The number of bytes read so far.
    pub fn bytes(&self) -> u64 {
        self.source.get_ref().get_ref().bytes
    }

    /// The SHA-256 of the bytes read so far.
    pub fn digest(&self) -> [u8; 32] {
        self.source.get_ref().get_ref().hasher.clone().finalize().into()
    }

    /// The next piece.
    pub fn next_piece(&mut self) -> Result<Next> {
        if !self.begun {
            self.begun = true;
            if let Some(foreign) = self.begin()? {
                return Ok(Next::NotUtf8(foreign));
            }
        }
        let complete = match self.format {
            Format::Text if self.open => match self.read_text()? {
                Some(complete) => complete,
                None => return Ok(Next::NotUtf8("not UTF-8")),
            },
            Format::Text => return Ok(Next::End),
            Format::JsonLines if self.open => true,
            Format::JsonLines => match self.read_line()? {
                true => true,
                false => return Ok(Next::End),
            },
        };
        let rest = &self.text[self.given..];
        let last = complete && rest.len() <= PIECE;
        let end = if last { rest.len() } else { boundary(rest, PIECE) };
        let text = rest[..end].to_owned();
        self.given += end;
        self.open = !last;
        if last {
            // Replaced rather than cleared, to free the memory of a long line.
            self.text = String::new();
            self.given = 0;
        }
        Ok(Next::Piece(Piece { line: self.line, text, last }))
    }

    /// Examines the beginning of the file: says what it is instead of UTF-8. Skips a byte order mark.
    fn begin(&mut self) -> Result<Option<&'static str>> {
        let block = self.source.fill_buf().map_err(|e| Fault::io("read the text", &self.path, &e))?;
        if let Some(foreign) = encoding::foreign(block) {
            return Ok(Some(foreign));
        }
        if self.format == Format::Text && block.starts_with(BYTE_ORDER_MARK) {
            self.source.consume(BYTE_ORDER_MARK.len());
        }
        Ok(None)
    }

    /// Reads until there is more than a piece or the file ends. Returns whether it ended; `None` if it is not UTF-8.
    fn read_text(&mut self) -> Result<Option<bool>> {
        self.text.drain(..self.given);
        self.given = 0;
        while self.text.len() <= PIECE {
            let io = |e: std::io::Error| Fault::io("read the text", &self.path, &e);
            let block = self.source.fill_buf().map_err(io)?;
            if block.is_empty() {
                return Ok(Some(true));
            }
            let (valid, read) = match std::str::from_utf8(block) {
                Ok(text) => (text, block.len()),
                Err(e) if e.error_len().is_some() => return Ok(None),
                Err(e) => {
                    (std::str::from_utf8(&block[..e.valid_up_to()]).unwrap_or_default(), e.valid_up_to())
                }
            };
            self.text.push_str(valid);
            if read > 0 {
                self.source.consume(read);
            } else {
                match self.read_split_character()? {
                    Split::Whole => {}
                    Split::Ended => return Ok(self.cut.then_some(true)),
                    Split::NotUtf8 => return Ok(None),
                }
            }
        }
        Ok(Some(false))
    }

    /// Reads one character whose bytes span two blocks.
    fn read_split_character(&mut self) -> Result<Split> {
        let mut bytes = [0; 4];
        for length in 0..4 {
            match self.source.read(&mut bytes[length..=length]) {
                Ok(0) => return Ok(Split::Ended),
                Ok(_) => {}
                Err(e) => return Err(Fault::io("read the text", &self.path, &e)),
            }
            if let Ok(text) = std::str::from_utf8(&bytes[..=length]) {
                self.text.push_str(text);
                return Ok(Split::Whole);
            }
        }
        Ok(Split::NotUtf8)
    }

    /// Reads the document of the next line that has one; returns false at the end.
    fn read_line(&mut self) -> Result<bool> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = (&mut self.source).take(LONGEST_LINE + 1).read_until(b'\n', &mut bytes);
            let read = read.map_err(|e| Fault::io("read the text", &self.path, &e))?;
            if read as u64 > LONGEST_LINE {
                return Err(Fault::new(Kind::Memory, "a line of a JSON lines file is too long")
                    .at(format!("{}, line {}", self.path.display(), self.line + 1))
                    .found(format!("more than {} MiB", LONGEST_LINE >> 20))
                    .remedy("split its document into several lines, or put it into a text file of its own"));
            }
            if read == 0 || (self.cut && bytes.last() != Some(&b'\n')) {
                return Ok(false);
            }
            self.line += 1;
            let found = match std::str::from_utf8(&bytes) {
                Ok(line) if line.trim().is_empty() => continue,
                Ok(line) => match json_line::document(line) {
                    Ok(text) => {
                        self.text = text;
                        return Ok(true);
                    }
                    Err(found) => {
                        self.skipped.malformed += 1;
                        found
                    }
                },
                Err(_) => {
                    self.skipped.not_utf8 += 1;
                    "not UTF-8".to_owned()
                }
            };
            self.skipped.first.get_or_insert((self.line, found));
        }
    }
}

/// Where to cut `text`, at most `limit` bytes in.
///
/// Before a line break, or else a space, that follows a visible ASCII character: GPT-2's pre-tokenizer
/// always ends a word there, so the pieces encode to the same tokens as the whole. If the text has no such
/// place within the limit, between any two characters.
fn boundary(text: &str, limit: usize) -> usize {
    let bytes = &text.as_bytes()[..=limit.min(text.len() - 1)];
    let before = |blank: u8| bytes.windows(2).rposition(|two| two[1] == blank && two[0].is_ascii_graphic());
    match before(b'\n').or_else(|| before(b' ')) {
        Some(visible) => visible + 1,
        None => text.floor_char_boundary(limit),
    }
}

/// The outcome for a character whose bytes span two blocks.
enum Split {
    Whole,
    /// The file ended within it: either the cap cut it, or it is not UTF-8.
    Ended,
    NotUtf8,
}

/// A file that hashes and counts the bytes read.
struct Hashing {
    file: File,
    hasher: Sha256,
    bytes: u64,
}

impl Read for Hashing {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let read = self.file.read(into)?;
        self.hasher.update(&into[..read]);
        self.bytes += read as u64;
        Ok(read)
    }
}
