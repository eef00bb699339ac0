//! Every kernel of a step at its shapes: time, work, and the binding ceiling.

use super::{Bench, Ceilings, Spread};
use crate::fault::Result;
use crate::plan::CommandTime;
use crate::tape::shapes;
use crate::tape::{Node, Tape};
use serde::Serialize;
use std::collections::BTreeMap;

/// All executions of one op at one shape in a step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KernelRow {
    /// `matmul.nt`, or `image copies`.
    pub op: String,
    /// Extents of the output; M×N×K for a product.
    pub extents: String,
    /// Executions in a step.
    pub times: usize,
    pub dispatches: usize,
    /// Seconds of all executions.
    pub seconds: Spread,
    /// Floating-point operations and bytes of all executions, by the op's own count.
    pub flops: u64,
    pub bytes: u64,
    /// The least time that the device's ceilings allow.
    pub floor: f64,
    pub bound: Bound,
}

/// Which ceiling limits the speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Bound {
    Arithmetic,
    Memory,
}

/// The least seconds for `flops` operations at `rate` and `bytes` bytes, and the ceiling that binds.
fn floor(ceilings: &Ceilings, (flops, rate): (u64, f64), bytes: u64) -> (f64, Bound) {
    let arithmetic = flops as f64 / rate;
    let memory = bytes as f64 / ceilings.bandwidth(bytes);
    if arithmetic >= memory { (arithmetic, Bound::Arithmetic) } else { (memory, Bound::Memory) }
}

/// The floor of a whole tape.
pub fn tape_floor(ceilings: &Ceilings, tape: &Tape) -> f64 {
    tape.acting().map(|node| node_floor(ceilings, tape, node).0).sum()
}

fn node_floor(ceilings: &Ceilings, tape: &Tape, node: &Node) -> (f64, Bound) {
    let shapes = shapes(tape, node);
    // Only products compute in f16, if their operands are f16; everything else computes in f32 whatever the storage
    // type.
    let half = node.op.stem() == "matmul" && shapes.half_input(0);
    let rate = if half { ceilings.half_flops() } else { ceilings.flops() };
    floor(ceilings, (node.op.flops(&shapes), rate), node.op.bytes(&shapes))
}

/// Profiles a micro-batch and the update `rounds` times. Rows are sorted slowest first.
///
/// # Errors
/// [`crate::fault::Kind::Device`] if the device has no timestamp queries.
pub(crate) fn kernels(bench: &Bench, ceilings: &Ceilings, rounds: usize) -> Result<Vec<KernelRow>> {
    let engine = &bench.engine;
    let micro_batches = bench.batches.len();
    let mut rows: BTreeMap<(String, String), (KernelRow, Vec<f64>)> = BTreeMap::new();
    for round in 0..rounds {
        for (tape, plan, repeats) in engine.training_plans() {
            let repeats = if repeats { micro_batches } else { 1 };
            for time in plan.profile(&engine.device)? {
                let (row, samples) = entry(&mut rows, ceilings, tape, &time);
                samples.resize(round + 1, 0.0);
                samples[round] += time.seconds * repeats as f64;
                if round == 0 {
                    let copies = usize::from(time.entry.is_none());
                    row.dispatches += repeats * (1 - copies);
                    row.times += repeats * copies;
                    row.bytes += repeats as u64 * time.copied;
                    row.floor += repeats as f64 * floor(ceilings, (0, ceilings.flops()), time.copied).0;
                }
            }
            if round > 0 {
                continue;
            }
            for node in tape.acting() {
                let shapes = shapes(tape, node);
                let key = (node.op.name().to_owned(), node.op.extents(&shapes));
                let Some((row, _)) = rows.get_mut(&key) else { continue };
                row.times += repeats;
                row.flops += repeats as u64 * node.op.flops(&shapes);
                row.bytes += repeats as u64 * node.op.bytes(&shapes);
                row.floor += repeats as f64 * node_floor(ceilings, tape, node).0;
            }
        }
    }
    let finish = |(mut row, samples): (KernelRow, Vec<f64>)| {
        row.seconds = Spread::of(&samples);
        row
    };
    let mut rows: Vec<KernelRow> = rows.into_values().map(finish).collect();
    rows.sort_by(|a, b| b.seconds.median.total_cmp(&a.seconds.median));
    Ok(rows)
}

/// The row a command belongs to. Image copies have their own row because the tape does not contain them.
fn entry<'a>(
    rows: &'a mut BTreeMap<(String, String), (KernelRow, Vec<f64>)>,
    ceilings: &Ceilings,
    tape: &Tape,
    time: &CommandTime,
) -> &'a mut (KernelRow, Vec<f64>) {
    let node = &tape.nodes()[time.node];
    let (key, bound) = match time.entry {
        Some(_) => {
            let key = (node.op.name().to_owned(), node.op.extents(&shapes(tape, node)));
            (key, node_floor(ceilings, tape, node).1)
        }
        None => (("image copies".to_owned(), String::new()), Bound::Memory),
    };
    rows.entry(key.clone()).or_insert_with(|| {
        let row = KernelRow {
            op: key.0,
            extents: key.1,
            times: 0,
            dispatches: 0,
            seconds: Spread { median: 0.0, low: 0.0, high: 0.0 },
            flops: 0,
            bytes: 0,
            floor: 0.0,
            bound,
        };
        (row, Vec::new())
    })
}
