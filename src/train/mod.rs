//! Training: the loop, its device side, the run's folder and its checkpoints.

pub mod agreement;
pub mod arena;
pub mod checkpoint;
pub mod engine;
pub mod evaluate;
mod finite;
pub mod folded;
pub mod heads;
pub mod kernel_choice;
pub mod loader;
pub mod memory;
pub mod past;
pub mod places;
pub mod run_folder;
pub mod sparsity;
pub mod trace;
pub mod trainer;
