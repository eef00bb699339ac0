//! `prepare`: from text sources to a folder of tokens.

use std::io::Write;
use std::path::PathBuf;

use super::folder::Owned;
use super::meta::{Dtype, FORMAT, Meta, SourceMeta, SplitBy};
use super::place::{META_FILE, TOKENIZER_FILE, TRAIN_FILE, VALID_FILE};
use super::progress::{Progress, Report, Stage};
use super::sources::{Wanted, list};
use super::survey::{Pieces, Survey, survey};
use super::token_writer::ChunkWriter;
use super::tokenizer::LoadedTokenizer;
use super::tokenizer_json::{END_OF_TEXT, LARGEST_VOCAB};
use crate::fault::{Fault, Kind, Result};
use crate::files::write_new;
use crate::numbers::counted;

/// How much text is encoded at a time; encoding takes about forty times the memory of its text.
const ENCODE_BYTES: usize = 1 << 20;

/// One token for each byte, plus the end of text.
const SMALLEST_VOCAB: usize = 257;
/// The most tokens a sequence may have.
const LONGEST_CHUNK: usize = 1 << 20;

/// What to prepare, and how.
#[derive(Clone, Debug)]
pub struct PrepareOptions {
    /// Folders, files, globs, pipes, `-` for standard input, or `auto`. What a file holds is told by its first bytes.
    pub sources: Vec<String>,
    /// The folder to write; created if missing.
    pub out: PathBuf,
    /// How many tokens to learn; ignored with an existing `tokenizer`.
    pub vocab_size: usize,
    /// Tokens per chunk: the `n_positions` of models trained on it.
    pub chunk: usize,
    /// The column, field or key that holds the documents of files with many; `None`: `text`, else `content`.
    pub column: Option<String>,
    /// A tokenizer to use instead of learning one: a `tokenizer.json`, or a `vocab.json` beside its `merges.txt`, or a
    /// folder with either.
    pub tokenizer: Option<PathBuf>,
    /// The token that ends a document; `None`: `<|endoftext|>`.
    pub end_of_text: Option<String>,
    /// Let chunks run across documents, with the end of text between them, instead of dropping short tails.
    pub pack: bool,
    /// The share of documents to hold out, between 0 and 1.
    pub valid_share: f64,
    /// Determines which documents are held out, and which files `max_bytes` keeps.
    pub seed: u64,
    /// Which files of a folder to take; if empty, `py` or `rs` for `auto`, otherwise every text file.
    pub extensions: Vec<String>,
    /// Also take hidden files of folders and globs, and those that a `.gitignore` excludes.
    pub all_files: bool,
    /// The most text to take: files are drawn by the seed until it is filled.
    pub max_bytes: Option<u64>,
    /// Replace data prepared in `out` before.
    pub replace: bool,
}

impl PrepareOptions {
    /// The sizes of the `small` presets, for `sources`.
    pub fn new(sources: Vec<String>, out: PathBuf) -> Self {
        Self {
            sources,
            out,
            vocab_size: 2048,
            chunk: 128,
            column: None,
            tokenizer: None,
            end_of_text: None,
            pack: false,
            valid_share: 0.05,
            seed: 1,
            extensions: Vec::new(),
            all_files: false,
            max_bytes: None,
            replace: false,
        }
    }

    /// The vocabulary and the length of a chunk, of which some were chosen, and the usual ones for the others.
    pub fn sizes((vocab_size, chunk): (Option<usize>, Option<usize>)) -> (usize, usize) {
        let usual = Self::new(Vec::new(), PathBuf::new());
        (vocab_size.unwrap_or(usual.vocab_size), chunk.unwrap_or(usual.chunk))
    }

    fn check(&self) -> Result<()> {
        let usage = |what: String| Err(Fault::new(Kind::Usage, what));
        if self.sources.is_empty() {
            return usage("there is no source of text to prepare".to_owned());
        }
        if self.tokenizer.is_none() && !(SMALLEST_VOCAB..=LARGEST_VOCAB).contains(&self.vocab_size) {
            return usage(format!(
                "a byte-level vocabulary to learn has from {SMALLEST_VOCAB} to {LARGEST_VOCAB} tokens, not {} \
                 (vocab_size)",
                self.vocab_size
            ));
        }
        if !(2..=LONGEST_CHUNK).contains(&self.chunk) {
            return usage(format!("a chunk has from 2 to {LONGEST_CHUNK} tokens, not {}", self.chunk));
        }
        if !(self.valid_share > 0.0 && self.valid_share < 1.0) {
            return usage(format!(
                "the held-out share must be between 0 and 1, not {} (valid_share)",
                self.valid_share
            ));
        }
        Ok(())
    }
}

/// Prepares a corpus: surveys the sources, learns (or reads) the tokenizer, encodes, and writes `train.bin`,
/// `valid.bin`, `tokenizer.json` and `meta.json`, all of them or none.
///
/// The same sources, options and seed give the same bytes. Memory does not grow with the corpus, except for
/// the list of its files and, up to a bound, its distinct words.
///
/// # Errors
/// For any fault of the request or the text; `out` then keeps its old contents.
pub fn prepare(options: &PrepareOptions, report: Report) -> Result<Meta> {
    options.check()?;
    let out = &options.out;
    let take = || Owned::take(out, options.replace);
    let taken = if out.is_dir() { Some(take()?) } else { None };
    let wanted = Wanted {
        sources: &options.sources,
        extensions: &options.extensions,
        column: options.column.as_deref(),
        all_files: options.all_files,
        max_bytes: options.max_bytes,
        seed: options.seed,
    };
    let listing = list(wanted, out)?;
    let end_of_text = options.end_of_text.as_deref();
    let given = options.tokenizer.as_deref();
    let given = given.map(|path| LoadedTokenizer::read_with(path, end_of_text)).transpose()?;
    let owned = match taken {
        Some(owned) => owned,
        None => {
            std::fs::create_dir_all(out).map_err(|e| Fault::io("make the output folder", out, &e))?;
            take()?
        }
    };
    owned.tidy()?;
    let (description, mut notes) = (listing.description.clone(), listing.notes.clone());
    let survey = survey(listing, options.valid_share, options.seed, report)?;
    let tokenizer = match given {
        Some(given) => given,
        None => LoadedTokenizer::learn(&survey, options.vocab_size, end_of_text, report)?,
    };
    let packed = match (options.pack, tokenizer.end_of_text) {
        (false, _) => None,
        (true, Some(id)) => Some(id),
        (true, None) => {
            return Err(Fault::new(Kind::Data, "packing needs a token between documents")
                .found(format!("a tokenizer without {END_OF_TEXT}"))
                .remedy("name its token that ends a text with --end-of-text TOKEN, or omit --pack"));
        }
    };

    notes.extend(tokenizer.notes.iter().cloned());
    let dtype = Dtype::for_vocab(tokenizer.vocab_size);
    let new = owned.begin()?;
    let begin = |name| ChunkWriter::create(new.place(name), dtype, options.chunk, packed);
    let (mut train, mut valid) = (begin(TRAIN_FILE)?, begin(VALID_FILE)?);
    encode(&survey, &tokenizer, options.seed, &mut train, &mut valid, report)?;
    let split_by = settle(&mut train, &mut valid, options)?;

    let meta = Meta {
        format: FORMAT,
        vocab_size: tokenizer.vocab_size,
        dtype,
        chunk: options.chunk,
        packed: options.pack,
        end_of_text: tokenizer.end_of_text,
        seed: options.seed,
        valid_share: options.valid_share,
        split_by,
        train: train.part,
        valid: valid.part,
        dropped_tokens: train.dropped_tokens + valid.dropped_tokens,
        skipped: survey.skipped,
        source: SourceMeta {
            description,
            files: survey.files.len() as u64,
            bytes: survey.bytes,
            sha256: survey.sha256,
        },
        notes,
    };
    train.finish()?;
    valid.finish()?;
    let text = serde_json::to_string_pretty(&meta).expect("a meta has string keys and finite numbers") + "\n";
    for (name, bytes) in [(TOKENIZER_FILE, tokenizer.json.as_slice()), (META_FILE, text.as_bytes())] {
        let path = new.place(name);
        write_new(&path, |file| file.write_all(bytes).map_err(|e| Fault::io("write the file", &path, &e)))?;
    }
    owned.commit(new)?;
    Ok(meta)
}

/// Encodes every document into the part that its key selects.
fn encode(
    survey: &Survey,
    tokenizer: &LoadedTokenizer,
    seed: u64,
    train: &mut ChunkWriter,
    valid: &mut ChunkWriter,
    report: Report,
) -> Result<()> {
    let mut pieces = Pieces::new(&survey.files);
    let mut more = true;
    while more {
        let (mut texts, mut places, mut bytes) = (Vec::new(), Vec::new(), 0);
        while bytes < ENCODE_BYTES {
            let Some((file, piece)) = pieces.next_piece()? else {
                more = false;
                break;
            };
            places.push((file.document_key(seed, piece.row) < survey.threshold, piece.last));
            bytes += piece.text.len();
            texts.push(piece.text);
        }
        for (tokens, (held_out, last)) in tokenizer.encode(texts)?.iter().zip(places) {
            let writer = if held_out { &mut *valid } else { &mut *train };
            writer.push(tokens)?;
            if last {
                writer.end_document()?;
            }
        }
        report(Progress { stage: Stage::Encode, done: pieces.done(), total: survey.bytes });
    }
    train.drop_pending();
    valid.drop_pending();
    Ok(())
}

/// Ensures that both parts have a chunk, if short documents or a single document left one part without.
fn settle(train: &mut ChunkWriter, valid: &mut ChunkWriter, options: &PrepareOptions) -> Result<SplitBy> {
    let chunks = train.part.chunks + valid.part.chunks;
    if chunks < 2 {
        let dropped = train.dropped_tokens + valid.dropped_tokens;
        return Err(Fault::new(
            Kind::Data,
            "the corpus is too small: it needs a chunk to train on and one to hold out",
        )
        .found(format!(
            "{} of {} tokens, {} in shorter documents",
            counted(chunks, "chunk"),
            options.chunk,
            counted(dropped, "token")
        ))
        .remedy("use more text or shorter chunks, or pack documents together with --pack"));
    }
    let (full, empty, share) = match (train.part.chunks, valid.part.chunks) {
        (_, 0) => (train, valid, options.valid_share),
        (0, _) => (valid, train, 1.0 - options.valid_share),
        _ => return Ok(SplitBy::Document),
    };
    match full.last_document() {
        Some(of_last) => {
            full.move_end(empty, of_last)?;
            full.part.documents -= 1;
            empty.part.documents += 1;
            Ok(SplitBy::Document)
        }
        None => {
            let moved = ((share * chunks as f64).round() as u64).clamp(1, chunks - 1);
            full.move_end(empty, moved)?;
            Ok(SplitBy::Position)
        }
    }
}
