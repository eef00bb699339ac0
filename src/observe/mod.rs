//! What a training step shows: typed records, the log they are written to, one JSON object a line in `metrics.jsonl`,
//! and TensorBoard's event files beside it; and the arithmetic of entropies.

pub mod entropy;
pub mod event_file;
pub mod event_values;
pub mod log;
pub mod record;
pub mod units;
