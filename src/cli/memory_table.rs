//! The memory table that `train --dry-run` prints.

use super::{bytes, columns};
use crate::device::Device;
use crate::train::memory::Needs;

/// The memory a run takes, by purpose, and the memory available.
pub(super) fn memory_table(needs: &Needs, device: &Device, available: Option<u64>) -> String {
    let (demand, description) = (&needs.device, device.description());
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
    let mut lines = vec![format!("device memory on {}", description.name), columns(&rows, &[false, true])];
    rows.clear();
    let mut row = |name: &str, size: String| rows.push(vec![name.to_owned(), size]);
    let shared = if description.on_cpu() { " (device memory included)" } else { "" };
    row(&format!("peak of the process{shared}"), bytes(needs.process));
    row("available to it", available.map_or("not reported by this system".to_owned(), bytes));
    // The CPU itself has no limit but its memory.
    if device.gpu().is_some() {
        row("largest buffer allowed", bytes(description.max_buffer));
        row("largest binding allowed", bytes(description.max_binding));
    }
    lines.push(columns(&rows, &[false, true]));
    lines.join("\n")
}
