//! normfree trains GPT-2-style decoder language models with and without normalization on the GPU of any
//! vendor, and measures the entropy of every attention head while it trains.
//!
//! ARCHITECTURE.md is the map of these rooms; arrows between them point down only.

pub mod bench;
pub mod cache;
pub mod card;
pub mod cli;
pub mod config;
pub mod data;
pub mod draw;
pub mod fault;
pub mod files;
pub mod generate;
pub mod gpu;
pub mod model;
pub mod numbers;
pub mod observe;
pub mod ops;
pub mod plan;
pub mod process;
pub mod reference;
pub mod report;
pub mod shell;
pub mod study;
pub mod tape;
pub mod train;
pub mod verify;
pub mod visible;
pub mod words;
