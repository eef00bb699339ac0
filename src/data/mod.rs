//! From text to batches: corpus → tokenizer → token file → batches.
//!
//! `prepare` reads files, a folder, globs or JSON lines twice (once to learn a byte-level BPE, once to
//! encode) and writes a folder of four files:
//!
//! | file | holds |
//! | --- | --- |
//! | `train.bin`, `valid.bin` | chunks of `chunk` tokens back to back, `u16` (or `u32`) little-endian |
//! | `tokenizer.json` | the tokenizer, in the format of Hugging Face `tokenizers` |
//! | `meta.json` | [`Meta`]: vocabulary, type, counts, hash of the source |
//!
//! [`Corpus::open`] maps such a folder, or one of nanoGPT's, and checks it; [`Batches`] divides it into batches.
//!
//! The four files are replaced as one (`folder.rs`).
//!
//! **Text that is not UTF-8** is left out, never repaired: such a file, or such a line of a JSON lines
//! file, is skipped whole and counted in `meta.json`. So is a line that holds no document.

mod auto;
mod batches;
mod corpus;
mod encoding;
mod folder;
mod identity;
mod json_line;
mod learn;
mod listing;
mod merges;
mod meta;
mod permutation;
mod pieces;
mod place;
mod prepare;
mod progress;
mod seal;
mod sources;
mod survey;
mod token_file;
mod token_writer;
mod tokenizer;
mod tokenizer_json;
mod walk;

pub use batches::{Batch, Batches};
pub use corpus::Corpus;
pub use identity::{identity, is_prepared};
pub use meta::{Dtype, LeftOut, Meta, Part, Skipped, SourceMeta, SplitBy};
pub use permutation::Permutation;
pub use place::tokenizer_path;
pub use prepare::{PrepareOptions, prepare};
pub use progress::{Progress, Stage};
pub use seal::DataSeal;
pub use token_file::TokenFile;
pub use token_writer::write_token_file;
pub use tokenizer::LoadedTokenizer;
