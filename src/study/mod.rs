//! A study: a grid of runs (configurations × sizes × seeds) from one file, and how far each of them has come.
//!
//! `file` reads STUDY.toml and `grid` multiplies it out; `shard` splits the runs; `state` asks their folders; `cost` and
//! `speed` say what they take and how fast this device was at it. Training them is `cli`'s, as for a single run.

mod cost;
mod file;
mod grid;
mod shard;
mod speed;
mod state;
mod table;

pub use cost::Cost;
pub use grid::{Grid, Run};
pub use shard::Shard;
pub use speed::{Basis, Speeds};
pub use state::State;
