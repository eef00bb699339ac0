//! The only room, beside `plan`, that names wgpu: adapters, the device, pipelines, buffers, readback.

mod adapters;
mod describe;
mod device;
mod kept;
mod pipelines;
pub(crate) use device::mebibytes;
mod readback;
mod stopwatch;
mod trial;

pub use adapters::{Backend, Candidate, candidates};
pub use describe::{AdapterKind, Description, Survey, survey};
pub use device::{Counters, Gpu, OpenOptions, cooperative_probe};
pub use pipelines::{Listener, Pipeline, Stage};
pub use readback::{ReadbackRing, Reading};
pub(crate) use stopwatch::Stopwatch;
pub use trial::{Submission, Trial, copy_seconds};
