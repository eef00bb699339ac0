//! Learns a tokenizer: counts the words of the corpus and merges them into tokens.

use ahash::AHashMap;
use rayon::prelude::*;
use tokenizers::models::bpe::BPE;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::{AddedToken, OffsetReferential, OffsetType, PreTokenizedString, PreTokenizer, Tokenizer};

use super::merges::{self, Words};
use super::progress::{Progress, Report, Stage};
use super::survey::{Pieces, Survey};
use crate::fault::{Fault, Kind, Result};

/// How much text the tokenizer learns from; from a larger corpus it takes evenly spaced pieces.
///
/// More text hardly changes the merges, and this bounds the learning time.
const LEARN_BYTES: u64 = 1 << 30;

/// A longer word (text without blanks, a run of blanks) is learned in pieces of this many bytes.
///
/// This bounds the length of a token, and splits text that would otherwise be one word. Encoding splits nothing:
/// the merges apply to words of any length. The longest word in Python's standard library has 95 bytes.
const LONGEST_WORD: usize = 1024;

/// New distinct words are accepted up to this many bytes in total; after that only known words are counted.
/// This bounds the memory of learning to about fifteen times as much. A gigabyte of English has a tenth of it.
const DISTINCT_BYTES: usize = 256 << 20;

/// How many pieces are processed together, on all cores.
const PIECES_AT_ONCE: usize = 32;

/// Learns a byte-level BPE of at most `vocab_size` tokens from the corpus, with GPT-2's pre-tokenizer; returns the
/// contents of its `tokenizer.json`. `end_of_text` is its first token.
pub fn learn(survey: &Survey, vocab_size: usize, end_of_text: &str, report: Report) -> Result<Vec<u8>> {
    let fault = |e| Fault::new(Kind::Data, "the tokenizer could not be learned").found(e);
    let byte_level = ByteLevel::new(false, true, true);
    let counts = count_words(survey, byte_level, DISTINCT_BYTES, report)?;

    // One token for each byte, in the order of the characters that represent them, after the end of text.
    let mut alphabet: Vec<char> = ByteLevel::alphabet().into_iter().collect();
    alphabet.sort_unstable();
    let numbers: AHashMap<char, u32> = alphabet.iter().zip(1..).map(|(&letter, n)| (letter, n)).collect();
    let mut tokens = vec![end_of_text.to_owned()];
    tokens.extend(alphabet.iter().map(char::to_string));
    let mut words = Words::default();
    for (word, count) in counts {
        words.add(word.chars().map(|letter| numbers[&letter]), count);
    }

    let progress =
        |done: usize| Progress { stage: Stage::Merge, done: done as u64, total: vocab_size as u64 };
    report(progress(tokens.len()));
    let learned = merges::learn(words, tokens, vocab_size, |done| report(progress(done)));
    let vocab: AHashMap<String, u32> = learned.tokens.into_iter().zip(0..).collect();
    let model = BPE::builder().vocab_and_merges(vocab, learned.merges).build().map_err(fault)?;
    let mut tokenizer = Tokenizer::new(model);
    tokenizer.with_pre_tokenizer(Some(byte_level)).with_decoder(Some(byte_level));
    tokenizer.add_special_tokens([AddedToken::from(end_of_text, true)]).map_err(fault)?;
    Ok(tokenizer.to_string(true).map_err(fault)?.into_bytes())
}

/// Counts each word of the training text; words are in the characters that represent bytes.
///
/// Words are taken in text order, so that the same text gives the same words if not all are taken.
fn count_words(
    survey: &Survey,
    byte_level: ByteLevel,
    distinct_bytes: usize,
    report: Report,
) -> Result<AHashMap<String, u64>> {
    let fault = |e| Fault::new(Kind::Data, "the tokenizer could not be learned").found(e);
    let mut counts: AHashMap<String, u64> = AHashMap::new();
    let mut room = distinct_bytes;
    let mut texts = Texts { pieces: Pieces::new(&survey.files), total: survey.bytes, number: 0 };
    loop {
        let mut batch = Vec::new();
        while batch.len() < PIECES_AT_ONCE
            && let Some(text) = texts.next(report)?
        {
            batch.push(text);
        }
        if batch.is_empty() {
            return Ok(counts);
        }
        let counted: Vec<_> = batch.into_par_iter().map(|text| words_of(&text, byte_level)).collect();
        for words in counted {
            for (word, count) in words.map_err(fault)? {
                match counts.get_mut(&word) {
                    Some(all) => *all += count,
                    // A character represents one byte, but may itself take two.
                    None if word.len() <= room => {
                        room -= word.len();
                        counts.insert(word, count);
                    }
                    None => room = 0,
                }
            }
        }
    }
}

/// The distinct words of a text in order of first occurrence, with their counts.
fn words_of(text: &str, byte_level: ByteLevel) -> tokenizers::Result<Vec<(String, u64)>> {
    let mut split = PreTokenizedString::from(text);
    byte_level.pre_tokenize(&mut split)?;
    let mut places: AHashMap<&str, usize> = AHashMap::new();
    let mut counts: Vec<(&str, u64)> = Vec::new();
    let splits = split.get_splits(OffsetReferential::Original, OffsetType::Byte);
    for (word, _, _) in &splits {
        for part in parts(word) {
            let place = *places.entry(part).or_insert_with(|| {
                counts.push((part, 0));
                counts.len() - 1
            });
            counts[place].1 += 1;
        }
    }
    Ok(counts.into_iter().map(|(word, count)| (word.to_owned(), count)).collect())
}

/// A word in pieces of [`LONGEST_WORD`] bytes, in the characters that represent them.
fn parts(word: &str) -> impl Iterator<Item = &str> {
    let mut rest = word;
    std::iter::from_fn(move || {
        let end = match rest.len() {
            0 => return None,
            length if length <= LONGEST_WORD => length,
            length => rest.char_indices().nth(LONGEST_WORD).map_or(length, |(end, _)| end),
        };
        let (part, after) = rest.split_at(end);
        rest = after;
        Some(part)
    })
}

/// The texts to learn from.
struct Texts<'a> {
    pieces: Pieces<'a>,
    total: u64,
    /// The number of pieces read so far.
    number: u64,
}

impl Texts<'_> {
    fn next(&mut self, report: Report) -> Result<Option<String>> {
        let taken = |pieces: u64| {
            u128::from(pieces) * u128::from(LEARN_BYTES) / u128::from(self.total.max(LEARN_BYTES))
        };
        while let Some((_, piece)) = self.pieces.next_piece()? {
            report(Progress { stage: Stage::Learn, done: self.pieces.done(), total: self.total });
            self.number += 1;
            if taken(self.number) > taken(self.number - 1) {
                return Ok(Some(piece.text));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_words_are_cut_between_bytes() {
        assert_eq!(parts("").count(), 0);
        assert_eq!(parts("word").collect::<Vec<_>>(), ["word"]);
        // Among the characters that represent bytes, a blank is Ġ, which takes two bytes.
        let blanks = "Ġ".repeat(2 * LONGEST_WORD + 1);
        let lengths: Vec<usize> = parts(&blanks).map(|part| part.chars().count()).collect();
        assert_eq!(lengths, [LONGEST_WORD, LONGEST_WORD, 1]);
        assert_eq!(parts(&blanks).collect::<String>(), blanks);
    }
}
