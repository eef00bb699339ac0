//! What is measured over training: the table of quantities, the log of their records, one JSON object per line in
//! `metrics.jsonl`, TensorBoard's event files beside it, and the arithmetic of entropies.

<<<<<<< HEAD
pub mod eigenvalues;
=======
pub mod dashboard;
>>>>>>> 100f740 (Report page: picture first, smoothed curves, sortable table, --serve, verdicts, parts of a study; PDF, GIF, --width; parts of the live view; charts and runs in TensorBoard)
pub mod entropy;
pub mod event_file;
pub mod event_values;
pub mod history;
pub mod log;
pub mod quantities;
pub mod record;
pub mod spectrum;
pub mod units;
