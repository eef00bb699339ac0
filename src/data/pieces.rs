//! Documents, read in pieces of bounded size.

use super::encoding::{self, BYTE_ORDER_MARK};
use super::entry::Entry;
use super::kinds::{self, Format};
use super::rows::{self, Row, Rows, Without, row_word};
use super::stream::{self, Stream};
use crate::fault::Result;

/// The maximum length of a piece in bytes.
pub const PIECE: usize = 256 << 10;

/// A part of a document.
#[derive(Debug, PartialEq, Eq)]
pub struct Piece {
    /// The row of a file with many documents, from 1; 0 if the file is one document.
    pub row: u64,
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

/// The rows of a file without a document.
#[derive(Debug, Default)]
pub struct SkippedRows {
    pub not_utf8: u64,
    /// Without a text where the document should be.
    pub malformed: u64,
    /// The first row of either kind, and what is wrong with it.
    pub first: Option<String>,
}

/// Reads the documents of one file in order.
pub struct Reader {
    source: Source,
    cut: bool,
    format: Format,
    /// The text read so far: of the file, or of the current row's document.
    text: String,
    /// How much of `text` has been returned.
    given: usize,
    /// Whether `text` belongs to a document whose last piece has not been returned.
    open: bool,
    /// Whether any of the file was read.
    begun: bool,
    row: u64,
    pub skipped: SkippedRows,
}

enum Source {
    Text(Box<Stream>),
    Rows(Box<dyn Rows>),
    /// Text in another encoding, with its name.
    Foreign(&'static str),
}

impl Reader {
    /// Opens the file of `entry`.
    pub fn open(entry: &Entry) -> Result<Self> {
        let source = match entry.format {
            Format::Text => Source::Text(Box::new(Stream::open(entry)?)),
            Format::Parquet | Format::Arrow => Source::Rows(rows::open(entry)?),
            Format::JsonLines | Format::JsonArray | Format::Table(_) => {
                let (head, _) = stream::head(&entry.place, &entry.path, encoding::LOOK)?;
                match encoding::foreign(&head) {
                    Some(name) => Source::Foreign(name),
                    None => Source::Rows(rows::open(entry)?),
                }
            }
        };
        Ok(Self {
            source,
            cut: entry.cut,
            format: entry.format,
            text: String::new(),
            given: 0,
            open: entry.format == Format::Text,
            begun: false,
            row: 0,
            skipped: SkippedRows::default(),
        })
    }

    /// The number of bytes read so far: unpacked ones, and of Parquet those of the documents.
    pub fn bytes(&self) -> u64 {
        match &self.source {
            Source::Text(stream) => stream.bytes(),
            Source::Rows(rows) => rows.bytes(),
            Source::Foreign(_) => 0,
        }
    }

    /// The number of bytes of the file that were read so far, packed as they are.
    pub fn position(&self) -> u64 {
        match &self.source {
            Source::Text(stream) => stream.position(),
            Source::Rows(rows) => rows.position(),
            Source::Foreign(_) => 0,
        }
    }

    /// The SHA-256 of the bytes read so far.
    pub fn digest(&self) -> [u8; 32] {
        match &self.source {
            Source::Text(stream) => stream.digest(),
            Source::Rows(rows) => rows.digest(),
            Source::Foreign(_) => [0; 32],
        }
    }

    /// The next piece.
    pub fn next_piece(&mut self) -> Result<Next> {
        let complete = match &mut self.source {
            Source::Text(_) if !self.open => return Ok(Next::End),
            Source::Text(stream) => {
                if !self.begun
                    && let Some(foreign) = begin(stream)?
                {
                    return Ok(Next::NotUtf8(foreign));
                }
                self.begun = true;
                self.text.drain(..self.given);
                self.given = 0;
                match read_text(stream, &mut self.text, self.cut)? {
                    Some(complete) => complete,
                    None => return Ok(Next::NotUtf8("not UTF-8")),
                }
            }
            Source::Foreign(name) => return Ok(Next::NotUtf8(name)),
            Source::Rows(_) if self.open => true,
            Source::Rows(rows) => match next_document(&mut **rows, self.format, &mut self.skipped)? {
                Some((row, text)) => {
                    (self.row, self.text) = (row, text);
                    true
                }
                None => return Ok(Next::End),
            },
        };
        let rest = &self.text[self.given..];
        let last = complete && rest.len() <= PIECE;
        let end = if last { rest.len() } else { boundary(rest, PIECE) };
        let text = rest[..end].to_owned();
        self.given += end;
        self.open = !last;
        if last {
            // Replaced rather than cleared, to free the memory of a long row.
            self.text = String::new();
            self.given = 0;
        }
        Ok(Next::Piece(Piece { row: self.row, text, last }))
    }
}

/// Examines the beginning of a text: says what it is instead of UTF-8. Skips a byte order mark.
fn begin(stream: &mut Stream) -> Result<Option<&'static str>> {
    let block = stream.fill()?;
    if let Some(foreign) = encoding::foreign(block) {
        return Ok(Some(foreign));
    }
    if let Some(foreign) = kinds::foreign(block, "") {
        return Ok(Some(foreign.name));
    }
    if block.starts_with(BYTE_ORDER_MARK) {
        stream.consume(BYTE_ORDER_MARK.len());
    }
    Ok(None)
}

/// The next row that has a document; counts those without.
fn next_document(
    rows: &mut dyn Rows,
    format: Format,
    skipped: &mut SkippedRows,
) -> Result<Option<(u64, String)>> {
    while let Some(Row { number, document }) = rows.next()? {
        let found = match document {
            Ok(text) => return Ok(Some((number, text))),
            Err(Without::NotUtf8) => {
                skipped.not_utf8 += 1;
                "not UTF-8".to_owned()
            }
            Err(Without::Malformed(found)) => {
                skipped.malformed += 1;
                found
            }
        };
        skipped.first.get_or_insert_with(|| format!("{} {number}: {found}", row_word(format)));
    }
    Ok(None)
}

/// Reads into `text` until there is more than a piece or the file ends. Returns whether it ended; `None` if it is not UTF-8.
fn read_text(stream: &mut Stream, text: &mut String, cut: bool) -> Result<Option<bool>> {
    while text.len() <= PIECE {
        let block = stream.fill()?;
        if block.is_empty() {
            return Ok(Some(true));
        }
        let (valid, read) = match std::str::from_utf8(block) {
            Ok(text) => (text, block.len()),
            Err(e) if e.error_len().is_some() => return Ok(None),
            Err(e) => (std::str::from_utf8(&block[..e.valid_up_to()]).unwrap_or_default(), e.valid_up_to()),
        };
        text.push_str(valid);
        if read > 0 {
            stream.consume(read);
        } else {
            match read_split_character(stream, text)? {
                Split::Whole => {}
                Split::Ended => return Ok(cut.then_some(true)),
                Split::NotUtf8 => return Ok(None),
            }
        }
    }
    Ok(Some(false))
}

/// Reads one character whose bytes span two blocks.
fn read_split_character(stream: &mut Stream, text: &mut String) -> Result<Split> {
    let mut bytes = [0; 4];
    for length in 0..4 {
        match stream.byte()? {
            None => return Ok(Split::Ended),
            Some(byte) => bytes[length] = byte,
        }
        if let Ok(character) = std::str::from_utf8(&bytes[..=length]) {
            text.push_str(character);
            return Ok(Split::Whole);
        }
    }
    Ok(Split::NotUtf8)
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
