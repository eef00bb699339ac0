//! What Hugging Face's programs know about a model: its `config.json`, both ways, and the files beside it.
//!
//! [`described`] writes the `config.json` of a model: for a stock class of `transformers` where one computes just that
//! model, and otherwise for this program's own class, whose code is in `assets/huggingface`. [`Description`] reads one, of
//! this program or of another, as keys of `[model]`, and refuses by name what no key says. [`check`] compares one that lies
//! beside weights with the configuration that reads them, and [`misfit`] says by its keys why they do not fit.

mod activations;
mod check;
mod describe;
mod fields;
mod read;
mod stock;
mod tokens;

pub use check::{check, misfit};
pub use describe::{CODE, MODEL_TYPE, described, is_stock};
pub use read::{CONFIG_FILE, Description};
pub use tokens::{TokenizerFiles, generation_config, tokenizer_files};
