//! One test binary for the whole suite. It needs a GPU adapter; software Vulkan will do. Without one every
//! test that runs a kernel fails and says what to install.

mod accumulation;
mod around;
mod attend;
mod begin;
mod bench;
mod card;
mod checkpoint;
mod cli;
mod config;
mod coverage;
mod data;
mod driver;
mod emulated;
mod entropy_guided;
mod export;
mod generate;
mod gpt_neox;
mod host;
mod hugging_face;
mod keys;
mod layouts;
mod llama;
mod memory;
mod mixed;
mod newer_mesa;
mod norms;
mod observe;
mod ops;
mod referee;
mod removal;
mod report;
mod run_folder;
mod shaders;
mod structure;
mod study;
mod subjects;
mod submissions;
mod support;
#[cfg(feature = "outside-tools")]
mod tensorboard;
mod texts;
mod training;
mod unchanged;
mod units;
