//! From text to batches: corpus → tokenizer → token file → batches.
//!
//! `prepare` reads files, folders, globs or pipes three times (to look at them, to learn a byte-level BPE, to
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
//! What a file holds is told by its first bytes (`kinds.rs`): one document, or one in each row of JSON lines, a JSON array,
//! a table, Parquet or Arrow (`rows/`), each of them plain or compressed (`stream.rs`).
//!
//! **Text that is not UTF-8** is left out, never repaired: such a file, or such a row of a file with many
//! documents, is skipped whole and counted in `meta.json`. So is a row that holds no document.

mod auto;
mod batches;
mod byte_lengths;
mod choose;
mod columns;
mod corpus;
mod encoding;
mod entry;
mod folder;
mod identity;
mod json_line;
mod kinds;
mod learn;
mod listing;
mod merges;
mod meta;
mod permutation;
mod pieces;
mod pipes;
mod place;
mod prepare;
mod progress;
mod rows;
mod seal;
mod sources;
mod stream;
mod survey;
mod token_file;
mod token_writer;
mod tokenizer;
mod tokenizer_json;
mod vocab_merges;
mod walk;

pub use batches::{Batch, Batches};
pub use byte_lengths::byte_lengths;
pub use corpus::Corpus;
pub use identity::{identity, is_prepared};
pub use meta::{Dtype, LeftOut, Meta, Part, Skipped, SourceMeta, SplitBy};
pub use permutation::Permutation;
pub use pipes::is_pipe;
pub use place::tokenizer_path;
pub use prepare::{PrepareOptions, prepare};
pub use progress::{Progress, Stage};
pub use seal::DataSeal;
pub use token_file::TokenFile;
pub use token_writer::write_token_file;
pub use tokenizer::LoadedTokenizer;
pub use tokenizer_json::END_OF_TEXT;
