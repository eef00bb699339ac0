//! The plan: a tape turned once into buffers, pipelines and bind groups, then replayed step after step.
//! After [`Plan::build`] nothing is allocated, compiled or looked up by name.

mod images;
mod limits;
mod memory;
mod profile;
mod replay;
mod store;

pub use limits::check_limits;
pub use memory::{MemoryPlan, padded_bytes};
pub use profile::CommandTime;
pub use replay::Plan;
pub use store::Store;
