//! Attention on GPUs: block products in workgroup memory, for heads of any width.

use super::heads::Heads;
use super::pass::Pass;
use crate::ops::unroll::unroll;
use crate::ops::{Binding, Dispatch, Kernel, Traits, Vendor, axis, element};
use std::fmt;
use std::sync::Arc;

/// How a workgroup's lanes divide its blocks; see `shaders/attention/blocks.wgsl`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Blocks {
    lanes: usize,
    /// Columns of the grid of lanes.
    across: usize,
    /// The most rows of one lane.
    rows: usize,
    /// Rows of the other side that one lane processes at a time.
    keys: usize,
    /// vec4s of a section that a lane sums.
    each: usize,
    /// The fewest bytes of workgroup memory to request. Unused memory keeps other workgroups off the same processor, and
    /// fewer workgroups get more cache hits.
    memory: usize,
}

/// Bytes of workgroup memory a kernel may use anywhere (WebGPU's floor).
const WORKGROUP_BYTES: usize = 16 << 10;
/// Bytes that the variant with excess memory requests, and bytes that a device needs to offer it.
const MUCH: usize = 28 << 10;
const NEEDED: usize = 32 << 10;
/// Bytes of a vec4<f32>.
const VECTOR: usize = 16;

impl Blocks {
    /// The variants of a device; the first is the default.
    pub fn all(layout: &Heads, device: &Traits) -> Vec<Self> {
        let blocks = |&[lanes, across, rows, keys, each]: &[usize; 5]| Self {
            lanes,
            across,
            rows,
            keys,
            each,
            memory: 0,
        };
        let mut all: Vec<Self> = shapes(device.vendor, layout.width / 4).iter().map(blocks).collect();
        all.retain(|blocks| blocks.lanes <= device.max_invocations as usize);
        if device.workgroup_memory as usize >= NEEDED {
            all.push(Self { memory: MUCH, ..all[0] });
        }
        all
    }

    /// The same with few enough rows per lane that a pass fits the registers of every device.
    ///
    /// At these bounds, AMD's compiler used at most 128 registers (`tests/amd`). Some of the registers hold addresses, and
    /// rows on their way into workgroup memory.
    fn fitted(mut self, pass: Pass, columns: usize) -> Self {
        let kept = if pass.is_key_gradient() { 2 } else { 1 };
        while self.rows > 1 {
            let sums = 4 * kept * self.rows * self.sections(columns) * self.each;
            let most = if self.rows * self.keys >= 16 { 32 } else { 64 };
            if sums <= most {
                break;
            }
            self.rows /= 2;
        }
        self
    }

    /// vec4s of the scores' columns in workgroup memory at a time: enough that every lane has some of the workgroup's own
    /// rows to load.
    fn depth(&self, columns: usize) -> usize {
        let most = if columns < 8 { 4 } else { 8 };
        most.max(self.across / self.rows)
    }

    fn down(&self) -> usize {
        self.lanes / self.across
    }

    /// Sections of a head's row of `columns` vec4s.
    fn sections(&self, columns: usize) -> usize {
        columns.div_ceil(self.each * self.across)
    }

    /// The most loop iterations of one lane: over blocks of the other side; within each, over the chunks of the scores'
    /// columns, over the columns of a chunk, and for each section over its rows; and before all of these, over columns.
    pub fn iterations(&self, layout: &Heads) -> usize {
        let columns = layout.width / 4;
        let keys = self.keys * self.across;
        let block = 2 * (columns.div_ceil(self.depth(columns)) + columns)
            + 2 * self.sections(columns) * keys / 4
            + self.rows * self.across / 4;
        layout.sequence.div_ceil(keys) * (1 + block) + self.rows * columns
    }

    /// The dispatch over all rows of all heads.
    pub fn dispatch(&self, pass: Pass, layout: &Heads, bindings: Vec<Binding>) -> Dispatch {
        let columns = layout.width / 4;
        let blocks = self.fitted(pass, columns);
        let constants = layout.constants();
        let kernel = Kernel::new(blocks.wgsl(pass, layout), pass.entry(), &constants);
        let groups = [layout.sequence.div_ceil(blocks.rows * blocks.down()), layout.n_head, layout.batch];
        Dispatch { kernel, bindings, groups: groups.map(axis) }
    }

    /// The numbers that the text takes. All lanes share the loads into workgroup memory evenly.
    fn numbers(&self, pass: Pass, columns: usize) -> Vec<(&'static str, usize)> {
        let Self { lanes, across, rows, keys, each, memory } = *self;
        let (down, depth) = (self.down(), self.depth(columns));
        let evenly = |vectors: usize| {
            assert!(vectors.is_multiple_of(lanes), "{self} over {columns} vec4s: {vectors} of {lanes} lanes");
            vectors / lanes
        };
        // The same as in the text.
        let weights = (keys * across / 4) | 1;
        let broad = (each * across) | 1;
        let gathered = if pass.is_key_gradient() { 0 } else { rows * down * across / 4 };
        let own = rows * down * weights.max(depth | 1);
        let used = own + keys * across * broad.max(depth | 1) + gathered;
        assert!(used * VECTOR <= WORKGROUP_BYTES, "{self} takes {} bytes of workgroup memory", used * VECTOR);
        vec![
            ("columns", columns),
            ("lanes", lanes),
            ("across", across),
            ("rows", rows),
            ("keys", keys),
            ("each", each),
            ("depth", depth),
            ("sections", self.sections(columns)),
            ("spare", (memory / VECTOR).saturating_sub(used)),
            ("four", 4),
            ("fill", evenly(rows * down * depth)),
            ("refill", evenly(keys * across * depth)),
            ("broadfill", evenly(keys * across * each * across)),
        ]
    }

    fn wgsl(&self, pass: Pass, layout: &Heads) -> Arc<str> {
        let (half, numbers) = (layout.half, self.numbers(pass, layout.width / 4));
        let texts = [("element", element::scalar(half)), ("narrow", element::narrow(half, 4))];
        let entries = ["forward", "query_gradient", "key_gradient"];
        let mut flags = entries.map(|entry| (entry, entry == pass.entry())).to_vec();
        flags.extend([
            ("half", half),
            ("entropy", pass == Pass::Forward { entropy: true }),
            ("guided", pass.guided()),
            ("capped", layout.cap.is_some()),
        ]);
        unroll(include_str!("../../../shaders/attention/blocks.wgsl"), &numbers, &flags, &texts)
    }
}

/// `[lanes, across, rows, keys, each]` of the variants for heads of `columns` vec4s. For wide heads, more lanes share the
/// sums of a row.
///
/// Intel's GPUs have at most 128 registers per lane, and their compiler keeps more of a loop in registers than AMD's.
/// They get only variants that do not spill according to `tests/intel`.
fn shapes(vendor: Vendor, columns: usize) -> &'static [[usize; 5]] {
    match (vendor, columns) {
        (Vendor::Intel, ..=4) => &[[64, 4, 2, 4, 1], [64, 8, 2, 2, 1], [128, 8, 1, 4, 1], [128, 16, 2, 2, 1]],
        (Vendor::Intel, 5..=7) => {
            &[[64, 8, 2, 2, 1], [64, 4, 2, 4, 1], [128, 8, 1, 4, 1], [128, 16, 2, 2, 1]]
        }
        (Vendor::Intel, 8) => &[[256, 8, 2, 4, 1], [64, 8, 2, 2, 1], [128, 8, 2, 2, 1], [256, 16, 2, 2, 1]],
        (Vendor::Intel, 9..=16) => {
            &[[256, 16, 2, 2, 1], [128, 8, 2, 2, 1], [256, 8, 1, 4, 1], [128, 16, 2, 1, 1]]
        }
        (Vendor::Intel, 17..=24) => {
            &[[256, 16, 2, 2, 1], [256, 8, 1, 4, 1], [128, 16, 2, 1, 1], [64, 8, 2, 1, 1]]
        }
        (Vendor::Intel, 25..=32) => &[[256, 16, 2, 2, 1], [256, 16, 1, 2, 1], [128, 16, 2, 1, 1]],
        (Vendor::Intel, 33..=48) => &[[256, 16, 1, 1, 1], [128, 16, 2, 1, 1], [256, 8, 1, 4, 1]],
        (Vendor::Intel, _) => &[[256, 16, 1, 1, 1]],
        (_, ..=4) => &[[64, 4, 4, 4, 1], [64, 4, 2, 4, 1], [128, 8, 4, 4, 1], [64, 8, 2, 2, 1]],
        (_, 5..=7) => &[[128, 8, 4, 4, 1], [64, 8, 4, 2, 1], [128, 8, 2, 4, 2], [64, 8, 2, 2, 1]],
        (_, 8..=24) => {
            &[[128, 8, 4, 4, 1], [256, 8, 2, 4, 1], [64, 8, 4, 2, 1], [128, 8, 2, 4, 2], [64, 8, 2, 2, 1]]
        }
        _ => {
            &[[128, 16, 4, 2, 1], [256, 16, 2, 2, 1], [128, 8, 2, 4, 2], [128, 16, 2, 2, 1], [64, 8, 2, 2, 1]]
        }
    }
}

impl fmt::Display for Blocks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rows, keys) = (self.rows * self.down(), self.keys * self.across);
        write!(f, "blocks of {rows} rows by {keys}, {} lanes, {} across", self.lanes, self.across)?;
        if self.each > 1 {
            write!(f, ", {} columns", self.each * self.across * 4)?;
        }
        if self.memory > 0 {
            write!(f, ", {} KiB", self.memory >> 10)?;
        }
        Ok(())
    }
}
