//! What a training step shows: typed records, and the log they are written to, one JSON object a line in
//! `metrics.jsonl`.

pub mod log;
pub mod record;
pub mod units;
