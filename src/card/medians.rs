//! The medians that a card shows.

use serde_json::Value;

/// Seconds of the step with entropy on or off.
pub(super) fn step_seconds(results: &Value, entropy: bool) -> Option<f64> {
    let row = results["steps"].as_array()?.iter().find(|row| row["entropy"] == entropy)?;
    row["seconds"]["median"].as_f64()
}

/// Seconds of PyTorch's step: the median of its windows.
pub(super) fn torch_seconds(results: &Value) -> Option<f64> {
    median(&results["seconds_per_step"])
}

/// The median of a list of numbers.
pub(super) fn median(list: &Value) -> Option<f64> {
    let mut all: Vec<f64> = list.as_array()?.iter().filter_map(Value::as_f64).collect();
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied()
}
