//! What ops on the CPU are made of: vector instructions, tasks for threads, and functions that the compiler vectorises.

pub mod functions;
mod simd;
mod tasks;

pub use functions::Line;
pub use simd::{Simd, WithSimd, simd, with_simd};
pub use tasks::{BLOCK, TASK, dot, fill, rows_per_block, rows_per_task, squares};
