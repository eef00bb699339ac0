//! normfree trains GPT-2-style decoder language models with and without normalization on any vendor's GPU, and measures
//! the entropy of every attention head during training.
//!
//! It is primarily a program. Your own programs may build on these modules:
//!
//! | module | what it offers |
//! | --- | --- |
//! | [`config`] | a run's configuration, read and checked |
//! | [`tape`], [`ops`], [`model`] | models and their gradients as plain data, and the ops; [`reference`](mod@reference) runs a tape in f64 |
//! | [`gpu`], [`plan`] | a device, and a tape made ready to run on it |
//! | [`data`] | from text to batches |
//! | [`train`], [`generate`], [`pattern`] | training, checkpoints, text from them, and what their heads read |
//! | [`observe`], [`report`] | logs, and figures drawn from them |
//! | [`fault`] | how all of these report failures |
//!
//! All other modules are public only for the tests and the program, and change without notice: [`cli`], [`card`],
//! [`study`], [`referee`], [`hub`], [`publish`], [`bench`](mod@bench), [`verify`], [`optimizer`], [`draw`], [`words`], [`cache`], [`process`], [`files`], [`shell`], [`numbers`],
//! [`visible`]. No version before 1.0 promises a stable interface.
//!
//! # A configuration
//! A text and overrides become one checked [`Config`](config::Config); every fault gives the place, what was found and
//! a remedy.
//!
//! ```
//! use normfree::config::Config;
//! use normfree::model::parameter_count;
//!
//! let text = include_str!("../configs/small/sm_g.toml");
//! let config = Config::parse(text, "sm_g.toml", &["model.n_layer=2".to_owned()])?;
//! assert_eq!(config.model.n_layer, 2);
//! assert!(parameter_count(&config.model) > 100_000);
//!
//! let fault = Config::parse(text, "sm_g.toml", &["model.n_layers=2".to_owned()]).unwrap_err();
//! assert!(fault.to_string().contains("did you mean model.n_layer?"));
//! # Ok::<(), normfree::fault::Fault>(())
//! ```
//!
//! # A tape and its gradient, on the reference
//! A model only defines its forward pass; each op knows its adjoint. The reference runs a tape in f64, without a
//! device.
//!
//! ```
//! use normfree::reference::Memory;
//! use normfree::tape::{DType, Tape};
//!
//! let mut tape = Tape::new();
//! let x = tape.input("x", &[1, 2], DType::F32);
//! let w = tape.parameter("w", &[2, 2]);
//! let y = tape.linear(x, w, None);
//! let dy = tape.input("dy", &[1, 2], DType::F32);
//! tape.backward_from(&[(y, dy)]);
//! let dw = tape.known_gradient(w).expect("a parameter has a gradient");
//!
//! let mut memory = Memory::new(&tape);
//! memory.set(&tape, x, &[1.0, 2.0]);
//! memory.set(&tape, w, &[1.0, 0.0, 0.0, -1.0]);
//! memory.set(&tape, dy, &[1.0, 10.0]);
//! memory.run(&tape);
//! assert_eq!(memory.get(&tape, y), [1.0, -2.0]);
//! assert_eq!(memory.get(&tape, dw), [1.0, 10.0, 2.0, 20.0]);
//! ```
//!
//! # What a run needs from a device
//! A run's memory needs are computed from its tapes, again without a device.
//!
//! ```
//! use normfree::config::Config;
//! use normfree::ops::Traits;
//! use normfree::train::engine::Blueprint;
//!
//! let config = Config::parse(include_str!("../configs/demo/sm_r.toml"), "sm_r.toml", &[])?;
//! let device = Traits::floor();
//! let needs = Blueprint::new(&config, &device).demand(&device);
//! assert!(needs.total() > needs.parameters + needs.moments);
//! # Ok::<(), normfree::fault::Fault>(())
//! ```
//!
//! ARCHITECTURE.md is the map of the modules; arrows between them point only downwards.

pub mod bench;
pub mod cache;
pub mod card;
pub mod cli;
pub mod config;
pub mod cores;
pub mod data;
pub mod device;
pub mod draw;
pub mod fault;
pub mod files;
pub mod generate;
pub mod gpu;
pub mod host;
pub mod hub;
pub mod model;
pub mod numbers;
pub mod observe;
pub mod ops;
pub mod optimizer;
pub mod pattern;
pub mod plan;
pub mod process;
pub mod publish;
pub mod referee;
pub mod reference;
pub mod report;
pub mod shell;
pub mod study;
pub mod tape;
pub mod train;
pub mod verify;
pub mod visible;
pub mod words;
