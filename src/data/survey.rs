//! The first reading: which files are text, what is left out, and the threshold for held-out documents.

use sha2::{Digest, Sha256};

use super::entry::Entry;
use super::kinds::{self, Format, HEAD};
use super::listing::Listing;
use super::meta::Skipped;
use super::pieces::{Next, Piece, Reader};
use super::progress::{Progress, Report, Stage};
use super::sources::key;
use super::stream;
use crate::fault::{Fault, Kind, Result};
use crate::numbers::{counted, thousands};

/// A text file, and the hash of what was read of it.
#[derive(Debug)]
pub struct Surveyed {
    pub entry: Entry,
    digest: [u8; 32],
}

impl Surveyed {
    /// The number that determines the part for documents of this file.
    pub fn document_key(&self, seed: u64, row: u64) -> u64 {
        document_key(&self.entry, seed, row)
    }
}

/// The result of the first reading.
#[derive(Debug)]
pub struct Survey {
    pub files: Vec<Surveyed>,
    pub bytes: u64,
    pub skipped: Skipped,
    /// Documents with a key below it are held out.
    pub threshold: u64,
    /// SHA-256 over the relative paths and contents, in hexadecimal.
    pub sha256: String,
}

fn document_key(entry: &Entry, seed: u64, row: u64) -> u64 {
    match row {
        0 => key("split", seed, &entry.name),
        _ => key("split", seed, &format!("{}:{row}", entry.name)),
    }
}

/// Reads every file once. About `valid_share` of the documents have keys below the threshold. If there
/// are two or more, at least one does and at least one does not.
pub fn survey(listing: Listing, valid_share: f64, seed: u64, report: Report) -> Result<Survey> {
    let Listing { entries, left_out, .. } = listing;
    let total = entries.iter().map(|entry| entry.bytes).sum();
    let (mut done, mut bytes) = (0, 0);
    let mut all = Keys::default();
    let mut skipped = Skipped { left_out, ..Skipped::default() };
    let mut hasher = Sha256::new();
    let mut files = Vec::new();
    for entry in entries {
        report(Progress { stage: Stage::Survey, done, total });
        let mut reader = Reader::open(&entry)?;
        let mut keys = Keys::default();
        let refuse_binary = entry.refuse_binary && entry.format == Format::Text;
        let is_text = loop {
            match reader.next_piece()? {
                Next::Piece(piece) if refuse_binary && piece.text.contains('\0') => {
                    skipped.binary += 1;
                    break false;
                }
                Next::Piece(piece) => {
                    if piece.last {
                        keys.add(document_key(&entry, seed, piece.row));
                    }
                    let done = done + reader.position().min(entry.bytes);
                    report(Progress { stage: Stage::Survey, done, total });
                }
                Next::End => break true,
                // A picture among texts is no text in another encoding.
                Next::NotUtf8(what) if entry.refuse_binary && is_foreign(&entry)? => {
                    skipped.binary += 1;
                    skipped.first.get_or_insert_with(|| format!("{}: {what}", entry.path.display()));
                    break false;
                }
                Next::NotUtf8(what) => {
                    skipped.not_utf8 += 1;
                    skipped.first.get_or_insert_with(|| format!("{}: {what}", entry.path.display()));
                    break false;
                }
            }
        };
        done += entry.bytes;
        let rows = std::mem::take(&mut reader.skipped);
        skipped.not_utf8 += rows.not_utf8;
        skipped.malformed += rows.malformed;
        if let Some(what) = rows.first {
            if keys.count == 0 && rows.malformed > 0 && rows.not_utf8 == 0 {
                return Err(without_documents(&entry, rows.malformed, &what));
            }
            skipped.first.get_or_insert_with(|| format!("{}, {what}", entry.path.display()));
        }
        if !is_text {
            continue;
        }
        all.join(keys);
        bytes += reader.bytes();
        let digest = reader.digest();
        hasher.update((entry.relative.len() as u64).to_le_bytes());
        hasher.update(&entry.relative);
        hasher.update(digest);
        files.push(Surveyed { entry, digest });
    }
    report(Progress { stage: Stage::Survey, done: total, total });
    if bytes == 0 || all.count == 0 {
        return Err(empty(&skipped));
    }
    let sha256 = hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    let threshold = all.threshold(valid_share);
    Ok(Survey { files, bytes, skipped, threshold, sha256 })
}

/// Whether a file is of a kind with a name that is not text.
fn is_foreign(entry: &Entry) -> Result<bool> {
    let (head, _) = stream::head(&entry.place, &entry.path, HEAD)?;
    Ok(kinds::foreign(&head, &entry.relative).is_some())
}

/// A file of rows of which none has a document: the column has another name, or it holds something else.
fn without_documents(entry: &Entry, rows: u64, first: &str) -> Fault {
    Fault::new(Kind::Data, format!("no row of {} has a document", entry.format.name()))
        .at(entry.path.display())
        .found(format!("{} without a document, {first}", counted(rows, "row")))
        .remedy("name the column that holds the text with --column NAME, or leave the file out")
}

/// What was found instead of text.
fn empty(skipped: &Skipped) -> Fault {
    let counts = [
        (skipped.not_utf8, "file or row", "files or rows", " not in UTF-8"),
        (skipped.binary, "binary file", "binary files", ""),
        (skipped.malformed, "row", "rows", " without a document"),
    ];
    let told = |(count, one, many, what): (u64, &str, &str, &str)| {
        (count > 0).then(|| format!("{} {}{what}", thousands(count), if count == 1 { one } else { many }))
    };
    let told: Vec<String> = counts.into_iter().filter_map(told).collect();
    let mut found = if told.is_empty() { "only empty files".to_owned() } else { told.join(", ") };
    if let Some(first) = &skipped.first {
        found += &format!(" (the first is {first})");
    }
    Fault::new(Kind::Data, "the corpus is empty: no file holds text").found(found).remedy(
        "only text in UTF-8 can be read (convert UTF-16 with `iconv -f UTF-16 -t UTF-8`), and rows only if their \
             `text` or `content`, or what --column names, is a string",
    )
}

/// What the threshold needs to know about the keys of some documents.
struct Keys {
    count: u64,
    smallest: u64,
    largest: u64,
}

impl Default for Keys {
    fn default() -> Self {
        Self { count: 0, smallest: u64::MAX, largest: u64::MIN }
    }
}

impl Keys {
    fn add(&mut self, key: u64) {
        self.join(Self { count: 1, smallest: key, largest: key });
    }

    fn join(&mut self, other: Self) {
        self.count += other.count;
        self.smallest = self.smallest.min(other.smallest);
        self.largest = self.largest.max(other.largest);
    }

    /// Below the threshold are the share `valid_share` of all numbers, at least one key, and not every key. A
    /// single document is not held out.
    fn threshold(&self, valid_share: f64) -> u64 {
        let threshold = (valid_share * 2f64.powi(64)) as u64;
        match self.count {
            0 | 1 => 0,
            _ if self.smallest >= threshold => self.smallest.saturating_add(1),
            _ if self.largest < threshold => self.largest,
            _ => threshold,
        }
    }
}

/// Reads the surveyed files again, piece by piece, and checks that they have not changed.
pub struct Pieces<'a> {
    files: &'a [Surveyed],
    next: usize,
    reader: Option<Reader>,
    done: u64,
}

impl<'a> Pieces<'a> {
    pub fn new(files: &'a [Surveyed]) -> Self {
        Self { files, next: 0, reader: None, done: 0 }
    }

    /// The number of bytes read so far, over all files.
    pub fn done(&self) -> u64 {
        self.done + self.reader.as_ref().map_or(0, Reader::bytes)
    }

    /// The next piece and its file; `None` at the end.
    pub fn next_piece(&mut self) -> Result<Option<(&'a Surveyed, Piece)>> {
        loop {
            let Some(reader) = &mut self.reader else {
                let Some(file) = self.files.get(self.next) else { return Ok(None) };
                self.reader = Some(Reader::open(&file.entry)?);
                self.next += 1;
                continue;
            };
            let file = &self.files[self.next - 1];
            match reader.next_piece()? {
                Next::Piece(piece) => return Ok(Some((file, piece))),
                Next::End if reader.digest() == file.digest => {
                    self.done += reader.bytes();
                    self.reader = None;
                }
                Next::End | Next::NotUtf8(_) => {
                    return Err(Fault::new(Kind::Data, "a file changed while it was being read")
                        .at(file.entry.path.display())
                        .remedy("prepare again once nothing writes to the source"));
                }
            }
        }
    }
}
