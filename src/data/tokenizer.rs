//! The tokenizer: a byte-level BPE learned from the corpus, or one that exists.

use std::path::Path;

use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::normalizers::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, ProgressFormat, Tokenizer, TokenizerBuilder};

use super::prepare::{Progress, Report, Stage};
use super::survey::{Pieces, Survey};
use crate::fault::{Fault, Kind, Result};

/// The token that stands between documents.
pub const END_OF_TEXT: &str = "<|endoftext|>";

/// One token for each byte, and the end of text.
pub const SMALLEST_VOCAB: usize = 257;

/// How much text the tokenizer is learned from; of a larger corpus, pieces of it, evenly spaced.
///
/// More changes the merges little, and this bounds the memory of learning, which grows with the number of
/// distinct words; it also keeps the trainer's 32-bit counts of pairs from overflowing.
const LEARN_BYTES: u64 = 1 << 30;

/// A tokenizer and the file it is kept in.
pub struct LoadedTokenizer {
    tokenizer: Tokenizer,
    /// The contents of `tokenizer.json`.
    pub json: Vec<u8>,
    /// One more than the largest id.
    pub vocab_size: usize,
    /// The id of [`END_OF_TEXT`], where the tokenizer has it.
    pub end_of_text: Option<u32>,
}

impl LoadedTokenizer {
    /// Learns a byte-level BPE of `vocab_size` tokens from the corpus, with GPT-2's pre-tokenizer.
    pub fn learn(survey: &Survey, vocab_size: usize, report: Report) -> Result<Self> {
        let fault = |e| Fault::new(Kind::Data, "the tokenizer could not be learned").found(e);
        let byte_level = ByteLevel::new(false, true, true);
        let mut tokenizer = TokenizerBuilder::<BPE, NFC, ByteLevel, ByteLevel, ByteLevel>::default()
            .with_model(BPE::default())
            .with_normalizer(None)
            .with_pre_tokenizer(Some(byte_level))
            .with_post_processor(None)
            .with_decoder(Some(byte_level))
            .build()
            .map_err(fault)?;
        let mut trainer = BpeTrainerBuilder::new()
            .vocab_size(vocab_size)
            .show_progress(false)
            .progress_format(ProgressFormat::Silent)
            .special_tokens(vec![AddedToken::from(END_OF_TEXT, true)])
            .initial_alphabet(ByteLevel::alphabet().into_iter().collect())
            .build();
        let mut texts =
            Texts { pieces: Pieces::new(&survey.files), total: survey.bytes, number: 0, report, fault: None };
        tokenizer.train(&mut trainer, &mut texts).map_err(fault)?;
        if let Some(fault) = texts.fault {
            return Err(fault);
        }
        let json = tokenizer.to_string(true).map_err(fault)?.into_bytes();
        Self::from_json(json).map_err(fault)
    }

    /// Reads a `tokenizer.json`.
    pub fn read(path: &Path) -> Result<Self> {
        let json = std::fs::read(path).map_err(|e| Fault::io("read the tokenizer", path, &e))?;
        Self::from_json(json).map_err(|e| {
            Fault::new(Kind::Data, "the tokenizer cannot be used")
                .at(path.display())
                .found(e)
                .remedy("name a tokenizer.json of Hugging Face `tokenizers`")
        })
    }

    fn from_json(json: Vec<u8>) -> tokenizers::Result<Self> {
        let mut tokenizer = Tokenizer::from_bytes(&json)?;
        // Chunks do the cutting; and what is text in a document must not turn into the end of one.
        tokenizer.with_truncation(None)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(true);
        let largest = tokenizer.get_vocab(true).into_values().max().ok_or("a vocabulary without tokens")?;
        let end_of_text = tokenizer.token_to_id(END_OF_TEXT);
        Ok(Self { tokenizer, json, vocab_size: largest as usize + 1, end_of_text })
    }

    /// Encodes `texts`, one after the other's end, on all cores.
    pub fn encode(&self, texts: Vec<String>) -> Result<Vec<tokenizers::Encoding>> {
        self.tokenizer
            .encode_batch_fast(texts, false)
            .map_err(|e| Fault::new(Kind::Data, "the tokenizer cannot encode the text").found(e))
    }
}

impl LoadedTokenizer {
    /// The tokens of one text.
    pub fn encode_one(&self, text: &str) -> Result<Vec<u32>> {
        let mut encodings = self.encode(vec![text.to_owned()])?;
        Ok(encodings.pop().map(|encoding| encoding.get_ids().to_vec()).unwrap_or_default())
    }

    /// Turns tokens into text one by one: a token that ends within a character gives nothing until the rest is there.
    pub fn decoder(&self) -> impl FnMut(u32) -> Result<Option<String>> + '_ {
        let mut stream = self.tokenizer.decode_stream(false);
        move |token| {
            let piece = stream.step(token);
            piece.map_err(|e| Fault::new(Kind::Data, "the tokenizer cannot turn a token into text").found(e))
        }
    }
}

/// The texts to learn from. The trainer wants an iterator of strings, so a fault waits inside for its end.
struct Texts<'a> {
    pieces: Pieces<'a>,
    total: u64,
    /// How many pieces have been read.
    number: u64,
    report: Report<'a>,
    fault: Option<Fault>,
}

impl Iterator for Texts<'_> {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        loop {
            let piece = match self.pieces.next_piece() {
                Ok(Some((_, piece))) => piece,
                Ok(None) => {
                    (self.report)(Progress { stage: Stage::Merge, done: 0, total: 0 });
                    return None;
                }
                Err(fault) => {
                    self.fault = Some(fault);
                    return None;
                }
            };
            (self.report)(Progress { stage: Stage::Learn, done: self.pieces.done(), total: self.total });
            let taken = |pieces: u64| {
                u128::from(pieces) * u128::from(LEARN_BYTES) / u128::from(self.total.max(LEARN_BYTES))
            };
            self.number += 1;
            if taken(self.number) > taken(self.number - 1) {
                return Some(piece.text);
            }
        }
    }
}
