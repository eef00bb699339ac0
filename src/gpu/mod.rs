//! The only module besides `plan` that uses wgpu: adapters, the device, pipelines, buffers, readback.

mod adapters;
mod canary;
mod describe;
mod device;
mod kept;
mod pipelines;
mod probe;
pub(crate) use device::mebibytes;
mod readback;
mod stopwatch;
mod submissions;
mod trial;
mod width;

pub use adapters::{Backend, Candidate, candidates, hardware};
pub use canary::{Attempt, GREETING, Prober, this_program, try_device};
pub use describe::{AdapterKind, Description, Survey, survey};
pub use device::{Counters, Gpu, OpenOptions};
pub use pipelines::{Listener, Pipeline, Stage};
pub use probe::probes;
pub use readback::{Readback, ReadbackRing};
pub(crate) use stopwatch::{Stopwatch, unwrapped};
pub use submissions::LONGEST;
pub(crate) use submissions::{Work, counted_seconds};
pub use trial::{Submission, Trial, copy_seconds};
pub use width::time_product;
