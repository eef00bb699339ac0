//! The memory table that `train --dry-run` prints.

use super::{bytes, columns};
use crate::gpu::Description;
use crate::train::memory::Needs;

/// The memory a run takes, by purpose, and the memory available.
pub(super) fn memory_table(needs: &Needs, device: &Description, available: Option<u64>) -> String {
    let demand = &needs.device;
    let parts = [
        ("parameters", demand.parameters),
        ("f16 copies", demand.copies),
        ("gradients", demand.gradients),
        ("moments", demand.moments),
        ("intermediates", demand.intermediates),
        ("other", demand.other),
        ("total", demand.total()),
    ];
    let mut rows: Vec<Vec<String>> = parts
        .iter()
        .filter(|(name, size)| *size > 0 || *name != "f16 copies")
        .map(|(name, size)| vec![format!("  {name}"), bytes(*size)])
        .collect();
    let mut lines = vec![format!("device memory on {}", device.name), columns(&rows, &[false, true])];
    rows.clear();
    let mut row = |name: &str, size: String| rows.push(vec![name.to_owned(), size]);
    let shared = if device.on_cpu() { " (device memory included)" } else { "" };
    row(&format!("peak of the process{shared}"), bytes(needs.process));
    row("available to it", available.map_or("not reported by this system".to_owned(), bytes));
    row("largest buffer allowed", bytes(device.max_buffer));
    row("largest binding allowed", bytes(device.max_binding));
    lines.push(columns(&rows, &[false, true]));
    lines.join("\n")
}
