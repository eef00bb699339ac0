//! The plan: a tape compiled once into buffers, pipelines and bind groups, then replayed step after step.
//! After [`Plan::build`], nothing is allocated, compiled or looked up by name.

mod images;
mod limits;
mod liveness;
mod memory;
mod profile;
mod replay;
mod store;
mod tune;

pub use limits::check_limits;
pub use liveness::{Home, Life, Liveness, Purpose};
pub use memory::{MemoryPlan, Pool, padded_bytes};
pub use profile::CommandTime;
pub use replay::Plan;
pub use store::Store;
pub use tune::{Finding, Replayed, Search, Searched, TimedVariant, time_variants, tune};
