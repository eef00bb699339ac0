//! The variants of attention's kernels that a device has for a head's width, and the text for software drivers.

use super::blocks::Blocks;
use super::heads::Heads;
use super::pass::Pass;
use super::units::Units;
use crate::ops::unroll::unroll;
use crate::ops::{Binding, Dispatch, Kernel, Operand, Traits, Tuning, axis, element};
use std::fmt;
use std::sync::Arc;

/// How a device computes all three passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variant {
    /// For software drivers: each row belongs to one lane.
    Rows(Rows),
    /// For GPUs.
    Blocks(Blocks),
    /// For GPUs with f16 matrix units.
    Units(Units),
}

/// How lanes share the work if each row belongs to one lane. No sum depends on which lane that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    /// The other side's rows come by subgroup shuffles, not through workgroup memory.
    shuffle: bool,
    lanes: usize,
    /// Rows per lane.
    rows: usize,
    /// Rows of the other side processed at a time.
    keys: usize,
}

impl Variant {
    /// The variants of a device; the first is the default.
    pub fn all(layout: &Heads, device: &Traits) -> Vec<Self> {
        if device.software {
            Rows::all(layout, device).into_iter().map(Self::Rows).collect()
        } else {
            let units = Units::all(layout, device).into_iter().map(Self::Units);
            units.chain(Blocks::all(layout, device).into_iter().map(Self::Blocks)).collect()
        }
    }

    /// The variant chosen for `key`.
    pub fn chosen(layout: &Heads, device: &Traits, key: &str) -> Self {
        Tuning::chosen(key, &Self::all(layout, device), device)
    }

    /// The most loop iterations of one lane.
    pub fn iterations(&self, layout: &Heads) -> usize {
        match self {
            Self::Rows(_) => layout.iterations(),
            Self::Blocks(blocks) => blocks.iterations(layout),
            Self::Units(units) => units.iterations(layout),
        }
    }

    /// The dispatch over all rows of all heads.
    pub fn dispatch(&self, pass: Pass, layout: &Heads, bindings: Vec<Binding>) -> Dispatch {
        match self {
            Self::Rows(rows) => Text::of(pass, layout, rows).dispatch(layout, bindings),
            Self::Blocks(blocks) => blocks.dispatch(pass, layout, bindings),
            Self::Units(units) => units.dispatch(pass, layout, bindings),
        }
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => rows.fmt(f),
            Self::Blocks(blocks) => blocks.fmt(f),
            Self::Units(units) => units.fmt(f),
        }
    }
}

impl Rows {
    fn all(layout: &Heads, device: &Traits) -> Vec<Self> {
        // Two rows of a wide head do not fit the registers of any device.
        let narrow = layout.width <= 64;
        if device.lanes >= 4 {
            // Two rows share the loads of the other side, which is a quarter faster on two cores with AVX2.
            let rows = if narrow { &[2, 1][..] } else { &[1] };
            let lanes = device.lanes as usize;
            return rows.iter().map(|&rows| Self { shuffle: true, lanes, rows, keys: lanes }).collect();
        }
        // The text grows with columns x keys, and the time of some compilers with its square.
        let keys = match layout.width {
            ..=64 => 8,
            65..=128 => 4,
            _ => 2,
        };
        let tiles = |lanes, rows| Self { shuffle: false, lanes, rows, keys };
        let mut all = vec![tiles(64, 1), tiles(32, 1), tiles(128, 1)];
        all.extend(narrow.then_some(tiles(64, 2)));
        all
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.shuffle { "shuffles" } else { "tiles" };
        write!(f, "{} rows a lane, {} lanes, by {by}", self.rows, self.lanes)?;
        if self.shuffle { Ok(()) } else { write!(f, ", {} at once", self.keys) }
    }
}

/// The parameters of `shaders/attention.wgsl`; see there.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pass: Pass,
    /// The other side's rows come by subgroup shuffles, not through workgroup memory.
    shuffle: bool,
    /// The lane's own rows stay in registers.
    held: bool,
    /// Rows are read as images, which on a CPU is many times faster than reading buffers.
    images: bool,
    /// qkv, output and their gradients are f16.
    half: bool,
    lanes: usize,
    rows: usize,
    keys: usize,
    tile: usize,
}

/// Bytes of workgroup memory a kernel may use anywhere (WebGPU's floor).
const WORKGROUP_BYTES: usize = 16 << 10;
/// The most four-byte registers that one lane may use.
const REGISTERS: usize = 160;

impl Text {
    fn of(pass: Pass, layout: &Heads, variant: &Rows) -> Self {
        if variant.shuffle {
            Self::shuffle(pass, layout, variant)
        } else {
            Self::tiled(pass, layout, variant)
        }
    }

    /// The variant that keeps rows in registers.
    fn shuffle(pass: Pass, layout: &Heads, variant: &Rows) -> Self {
        let Rows { lanes, rows, .. } = *variant;
        let images = layout.fits_images();
        let half = layout.half;
        Self { pass, shuffle: true, held: true, images, half, lanes, rows, keys: lanes, tile: lanes }
    }

    /// The variant without subgroups: tiles in workgroup memory.
    fn tiled(pass: Pass, layout: &Heads, variant: &Rows) -> Self {
        // Two rows of a head's width, lse and delta; the entropy's gradient.
        let bytes = 2 * layout.width * 4 + if pass.guided() { 12 } else { 8 };
        let fit = (WORKGROUP_BYTES / bytes).min(64);
        let (sums, read) = pass.kept();
        let Rows { lanes, rows, keys, .. } = *variant;
        let held = rows * (sums + read) * layout.width <= REGISTERS;
        let (half, tile) = (layout.half, fit / keys * keys);
        Self { pass, shuffle: false, held, images: false, half, lanes, rows, keys, tile }
    }

    /// The dispatch over all rows of all heads.
    fn dispatch(&self, layout: &Heads, mut bindings: Vec<Binding>) -> Dispatch {
        /// Operands with one number per row, which are not read as images.
        const NUMBERS: [&str; 3] = ["lse", "entropy", "d_entropy"];
        for (name, operand) in &mut bindings {
            if let (true, Operand::Input(i)) = (self.images && !NUMBERS.contains(name), *operand) {
                *operand = Operand::InputImage(i);
            }
        }
        let constants = layout.constants();
        let kernel = Kernel::new(self.wgsl(layout), self.pass.entry(), &constants);
        let blocks = layout.sequence.div_ceil(self.lanes * self.rows);
        let groups = [blocks, layout.n_head, layout.batch].map(axis);
        Dispatch { kernel, bindings, groups }
    }

    fn wgsl(&self, layout: &Heads) -> Arc<str> {
        let numbers = [
            ("columns", layout.width / 4),
            ("lanes", self.lanes),
            ("rows", self.rows),
            ("keys", self.keys),
            ("tile", self.tile),
        ];
        let entries = ["forward", "query_gradient", "key_gradient"];
        let mut flags = entries.map(|entry| (entry, entry == self.pass.entry())).to_vec();
        flags.extend([
            ("shuffle", self.shuffle),
            ("held", self.held),
            ("images", self.images),
            ("half", self.half),
            ("entropy", self.pass == Pass::Forward { entropy: true }),
            ("guided", self.pass.guided()),
            ("capped", layout.cap.is_some()),
        ]);
        let texts = [
            ("element", element::scalar(self.half)),
            ("narrow", element::narrow(self.half, 4)),
            ("texel", element::texel(self.half)),
        ];
        unroll(include_str!("../../../shaders/attention.wgsl"), &numbers, &flags, &texts)
    }
}
