//! A study: a grid of runs (configurations × sizes × seeds) from one file, and the progress of each run.
//!
//! `file` reads STUDY.toml and `grid` expands it, with the sizes that `sizes` takes from the data; `claim` reads a claim about some
//! of its configurations; `shard` splits the runs; `state` inspects their folders; `cost` and `speed` say what they cost and how fast this device ran them. `cli` trains them, as it does a single run.

mod claim;
mod cost;
mod file;
mod grid;
mod shard;
mod sizes;
mod speed;
mod state;
mod table;

pub use claim::{Claim, Expectation, Order, Quantity};
pub use cost::Cost;
pub use grid::{Grid, Run};
pub use shard::Shard;
pub use sizes::is_missing;
pub use speed::{Basis, Speeds};
pub use state::State;
