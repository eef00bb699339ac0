//! The plan: a tape turned once into buffers, pipelines and bind groups, then replayed step after step.
//! After [`Plan::build`] nothing is allocated, compiled or looked up by name.

mod images;
mod memory;
mod profile;
mod replay;
mod store;

pub use memory::{MemoryPlan, padded_bytes};
pub use profile::KernelTime;
pub use replay::{Plan, check_bindings};
pub use store::Store;
