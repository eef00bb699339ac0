//! What is measured over training: the table of quantities, the log of their records, one JSON object per line in
//! `metrics.jsonl`, TensorBoard's event files beside it, and the arithmetic of entropies.

pub mod dashboard;
pub mod eigenvalues;
pub mod entropy;
pub mod event_file;
pub mod event_values;
pub mod history;
pub mod log;
pub mod quantities;
pub mod record;
pub mod spectrum;
pub mod units;
