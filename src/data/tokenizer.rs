//! The tokenizer: a byte-level BPE learned from the corpus, or an existing one.
//!
//! A `tokenizer.json` is user input, and the library that reads it panics on some. So it is parsed and checked here
//! first, and any later panic of the library is a fault of the data.

use std::fmt::Display;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rayon::prelude::*;
use serde_json::Value;
use tokenizers::Tokenizer;

use super::learn;
use super::place::TOKENIZER_FILE;
use super::progress::Report;
use super::survey::Survey;
use super::tokenizer_json::{Checked, END_OF_TEXT, LARGEST_VOCAB};
use super::vocab_merges::{MERGES_FILE, VOCAB_FILE, beside, is_vocab, tokenizer_json};
use crate::fault::{Fault, Kind, Result, contain, of_json};

/// A longer file is not a tokenizer; the largest in use have a tenth of it.
const LONGEST_FILE: u64 = 256 << 20;

/// Every kind of character that a tokenizer must handle.
const PROBE: &str =
    "def f(x): return 'it''s' + \"Zürich\"\n\t  \u{4e2d}\u{6587} 0123 \u{1f600}\r\n<|endoftext|> \0";

/// A tokenizer and the contents of its file.
pub struct LoadedTokenizer {
    tokenizer: Tokenizer,
    path: PathBuf,
    /// The contents of `tokenizer.json`, corrected where necessary.
    pub json: Vec<u8>,
    /// One more than the largest id.
    pub vocab_size: usize,
    /// The id of the token that ends a text, if the tokenizer has it. No text encodes to it.
    pub end_of_text: Option<u32>,
    /// The corrections, each a sentence.
    pub notes: Vec<String>,
}

impl LoadedTokenizer {
    /// Learns a byte-level BPE of `vocab_size` tokens from the corpus, with GPT-2's pre-tokenizer. The token that ends a
    /// text is `end_of_text`, else `<|endoftext|>`.
    ///
    /// # Errors
    /// Those of reading the corpus; [`Kind::Data`] if no tokenizer can be learned from it.
    pub fn learn(
        survey: &Survey,
        vocab_size: usize,
        end_of_text: Option<&str>,
        report: Report,
    ) -> Result<Self> {
        let path = Path::new("the learned tokenizer");
        let token = end_of_text.unwrap_or(END_OF_TEXT);
        if token.is_empty() || token.chars().count() == 1 {
            let fault = Fault::new(Kind::Usage, "the end of text is a token of two characters or more");
            return Err(fault.found(format!("{token:?}")).remedy("give another --end-of-text"));
        }
        Self::from_json(learn::learn(survey, vocab_size, token, report)?, path, end_of_text)
    }

    /// Reads a `tokenizer.json`, or a `vocab.json` with its `merges.txt` beside it, or a folder with either.
    ///
    /// # Errors
    /// [`Kind::Data`] if it cannot be used, whatever its contents; [`Kind::Io`].
    pub fn read(path: &Path) -> Result<Self> {
        Self::read_with(path, None)
    }

    /// As [`Self::read`]; the token that ends a text is `end_of_text`, else `<|endoftext|>`.
    ///
    /// # Errors
    /// Those of [`Self::read`]; [`Kind::Data`] if the tokenizer lacks the token that is named.
    pub fn read_with(path: &Path, end_of_text: Option<&str>) -> Result<Self> {
        let path = match path.is_dir() {
            true => in_folder(path)?,
            false => path.to_owned(),
        };
        if path.to_string_lossy().ends_with(MERGES_FILE) {
            let vocab = beside(&path);
            return Self::from_vocab(&vocab, &read_bounded(&vocab)?, end_of_text);
        }
        let json = read_bounded(&path)?;
        match serde_json::from_slice(&json) {
            Ok(root) if is_vocab(&root) => Self::from_vocab(&path, &json, end_of_text),
            _ => Self::from_json(json, &path, end_of_text),
        }
    }

    /// Of a vocabulary with its merges beside it.
    fn from_vocab(path: &Path, vocab: &[u8], end_of_text: Option<&str>) -> Result<Self> {
        let root = serde_json::from_slice(vocab)
            .map_err(|e| unusable(path, format_args!("incomplete or invalid JSON: {}", of_json(&e))))?;
        let Value::Object(vocab) = root else {
            return Err(unusable(path, "JSON, but not an object"));
        };
        let merges_path = beside(path);
        if !merges_path.is_file() {
            let found = format!("a vocabulary without {} beside it", merges_path.display());
            return Err(unusable(path, found));
        }
        let merges = String::from_utf8(read_bounded(&merges_path)?);
        let merges = merges.map_err(|_| unusable(&merges_path, "merges that are not UTF-8"))?;
        let token = end_of_text.unwrap_or(END_OF_TEXT);
        Self::from_json(tokenizer_json(&vocab, path, &merges, &merges_path, token)?, path, end_of_text)
    }

    fn from_json(json: Vec<u8>, path: &Path, named: Option<&str>) -> Result<Self> {
        let token = named.unwrap_or(END_OF_TEXT);
        let Checked { json, notes, added } =
            Checked::new(json, token).map_err(|found| unusable(path, found))?;
        let loaded = contain(|| Self::load(&json, &added)).map_err(|panic| foreign(path, panic))?;
        let (tokenizer, vocab_size) = loaded.map_err(|found| unusable(path, found))?;
        let end_of_text = tokenizer.token_to_id(token);
        if named.is_some() && end_of_text.is_none() {
            return Err(Fault::new(Kind::Data, "the tokenizer lacks the token that ends a text")
                .at(path.display())
                .found(format!("no token {token:?}"))
                .remedy("give a token of its vocabulary with --end-of-text"));
        }
        let loaded = Self { tokenizer, path: path.to_owned(), json, vocab_size, end_of_text, notes };

        // Checked now, rather than after an hour of encoding. A text that it refuses need not be in the corpus.
        for probe in [PROBE, token] {
            let ids =
                contain(|| loaded.ids(probe)).map_err(|panic| foreign(path, panic))?.unwrap_or_default();
            if end_of_text.is_some_and(|id| ids.contains(&id)) {
                return Err(unusable(path, format_args!("that it encodes the text {token} as the token")));
            }
        }
        Ok(loaded)
    }

    /// The library's tokenizer and its number of tokens; `added` are tokens with the ids they must get.
    fn load(json: &[u8], added: &[(String, u64)]) -> std::result::Result<(Tokenizer, usize), String> {
        let text = |e: tokenizers::Error| e.to_string();
        let mut tokenizer = Tokenizer::from_bytes(json).map_err(text)?;
        // Chunks do the truncation, and text in a document must not become the end-of-text token.
        tokenizer.with_truncation(None).map_err(text)?;
        tokenizer.with_padding(None);
        tokenizer.set_encode_special_tokens(true);
        // The library numbers added tokens itself, and only logs if the file disagrees.
        for (content, id) in added {
            let given = tokenizer.token_to_id(content).map(u64::from);
            if given != Some(*id) {
                let given = given.map_or("none".to_owned(), |id| id.to_string());
                return Err(format!(
                    "the added token {content:?} with the id {id}, where its place implies {given}"
                ));
            }
        }
        let mut ids: Vec<u32> = tokenizer.get_vocab(true).into_values().collect();
        ids.sort_unstable();
        if let Some(two) = ids.windows(2).find(|two| two[0] == two[1]) {
            return Err(format!("two tokens with the id {}", two[0]));
        }
        let vocab_size = *ids.last().ok_or("a vocabulary without tokens")? as usize + 1;
        if vocab_size > LARGEST_VOCAB {
            return Err(format!(
                "the id {}, where a model has at most {LARGEST_VOCAB} tokens",
                vocab_size - 1
            ));
        }
        Ok((tokenizer, vocab_size))
    }

    /// The tokens of each text, computed on all cores.
    ///
    /// # Errors
    /// [`Kind::Data`] if the tokenizer fails on a text.
    pub fn encode(&self, texts: Vec<String>) -> Result<Vec<Vec<u32>>> {
        texts.into_par_iter().map(|text| self.encode_one(&text)).collect()
    }

    /// The tokens of one text.
    ///
    /// # Errors
    /// [`Kind::Data`] if the tokenizer fails on it.
    pub fn encode_one(&self, text: &str) -> Result<Vec<u32>> {
        let failed = |found: String| {
            Fault::new(Kind::Data, "the tokenizer cannot encode the text")
                .at(self.path.display())
                .found(found)
        };
        contain(|| self.ids(text)).and_then(|ids| ids).map_err(failed)
    }

    /// The ids from the library, which may panic.
    fn ids(&self, text: &str) -> std::result::Result<Vec<u32>, String> {
        let encoding = self.tokenizer.encode_fast(text, false).map_err(|e| e.to_string())?;
        let ids = encoding.get_ids().to_vec();
        match ids.iter().find(|&&id| id as usize >= self.vocab_size) {
            Some(id) => Err(format!("the id {id}, which belongs to no token")),
            None => Ok(ids),
        }
    }

    /// Whether every token stands for the same text in `other`, whatever else their files say.
    pub fn same_tokens(&self, other: &Self) -> bool {
        self.tokenizer.get_vocab(true) == other.tokenizer.get_vocab(true)
    }

    /// Turns tokens into text one by one. A token that ends within a character gives nothing until the rest arrives.
    ///
    /// # Errors
    /// The returned function fails with [`Kind::Data`] if the tokenizer cannot decode a token.
    pub fn decoder(&self) -> impl FnMut(u32) -> Result<Option<String>> + '_ {
        let failed = |found: String| {
            Fault::new(Kind::Data, "the tokenizer cannot turn a token into text")
                .at(self.path.display())
                .found(found)
        };
        let mut stream = self.tokenizer.decode_stream(false);
        move |token| contain(|| stream.step(token)).map_err(failed)?.map_err(|e| failed(e.to_string()))
    }
}

fn unusable(path: &Path, found: impl Display) -> Fault {
    Fault::new(Kind::Data, "the tokenizer cannot be used").at(path.display()).found(found).remedy(
        "give a complete tokenizer.json of Hugging Face `tokenizers`, or GPT-2's vocab.json and merges.txt",
    )
}

/// The tokenizer in a folder: its `tokenizer.json`, else its vocabulary.
fn in_folder(folder: &Path) -> Result<PathBuf> {
    let found =
        [TOKENIZER_FILE, VOCAB_FILE].map(|name| folder.join(name)).into_iter().find(|path| path.is_file());
    found.ok_or_else(|| {
        unusable(folder, format_args!("a folder with neither {TOKENIZER_FILE} nor {VOCAB_FILE}"))
    })
}

/// A file of a tokenizer, which is not too long to be one.
fn read_bounded(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST_FILE + 1).read_to_end(&mut bytes))
        .map_err(|e| Fault::io("read the tokenizer", path, &e))?;
    match bytes.len() as u64 > LONGEST_FILE {
        true => Err(unusable(path, format_args!("more than {} MiB", LONGEST_FILE >> 20))),
        false => Ok(bytes),
    }
}

fn foreign(path: &Path, panic: impl Display) -> Fault {
    unusable(path, format_args!("a file on which the library `tokenizers` fails ({panic})"))
}
