//! Chooses the shape of the kernels' text for a head's width and a device.

use super::Layout;
use crate::ops::unroll::unroll;
use crate::ops::{Binding, Dispatch, Kernel, Operand, Traits, Tuning, axis, element};
use std::fmt;

/// One of the three walks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    Forward { entropy: bool },
    QueryGradient { guided: bool },
    KeyGradient { guided: bool },
}

impl Pass {
    fn entry(self) -> &'static str {
        match self {
            Self::Forward { .. } => "forward",
            Self::QueryGradient { .. } => "query_gradient",
            Self::KeyGradient { .. } => "key_gradient",
        }
    }

    /// Rows of a head's width that one lane keeps for each row it works on: sums, and rows it only reads.
    fn kept(self) -> (usize, usize) {
        match self {
            Self::Forward { .. } => (1, 1),
            Self::QueryGradient { .. } => (1, 2),
            Self::KeyGradient { .. } => (2, 2),
        }
    }

    fn is_gradient(self) -> bool {
        !matches!(self, Self::Forward { .. })
    }

    /// Whether a gradient arrives at the entropy.
    fn guided(self) -> bool {
        matches!(self, Self::QueryGradient { guided: true } | Self::KeyGradient { guided: true })
    }
}

/// How lanes share the work of all three walks. Which one a row gets changes none of its sums.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Way {
    /// The other side's rows come by subgroup shuffles, not through workgroup memory.
    shuffle: bool,
    lanes: usize,
    /// Rows of one lane.
    rows: usize,
    /// Rows of the other side that are taken at once.
    keys: usize,
    /// A barrier stands before a gradient's sums.
    apart: bool,
}

impl Way {
    /// The ways of a device in the forward pass, or for both gradients; the first is the one taken unasked.
    pub fn all(layout: &Layout, device: &Traits, gradient: bool) -> Vec<Self> {
        // Twice the rows of a wide head leave the registers of any device.
        let narrow = layout.width <= 64;
        if device.software && device.lanes >= 4 {
            // Two rows share what is read of the other side: a quarter faster on two cores of AVX2.
            let rows = if narrow { &[2, 1][..] } else { &[1] };
            let lanes = device.lanes as usize;
            return rows
                .iter()
                .map(|&rows| Self { shuffle: true, lanes, rows, keys: lanes, apart: false })
                .collect();
        }
        // The text grows with columns x keys, and some compilers' time with its square.
        let most = match layout.width {
            ..=64 => 8,
            65..=128 => 4,
            _ => 2,
        };
        let tiles = |lanes, rows, keys, apart| Self { shuffle: false, lanes, rows, keys, apart };
        if device.software {
            let mut ways = [64, 32, 128].map(|lanes| tiles(lanes, 1, most, false)).to_vec();
            ways.extend(narrow.then_some(tiles(64, 2, most, false)));
            return ways;
        }
        if !gradient {
            let mut ways = [64, 32, 128].map(|lanes| tiles(lanes, 1, most, false)).to_vec();
            ways.push(tiles(64, 1, most / 2, false));
            ways.extend(narrow.then_some(tiles(64, 2, most, false)));
            return ways;
        }
        // With twice as many rows of the other side, or two rows of its own, a wide head's gradient leaves the registers.
        let few = most / 2;
        let mut ways = [64, 32, 128].map(|lanes| tiles(lanes, 1, few, true)).to_vec();
        if layout.width <= 32 {
            ways.extend([tiles(64, 1, most, true), tiles(64, 2, few, true)]);
        }
        ways.extend((few > 1).then_some(tiles(64, 1, few / 2, true)));
        ways
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by = if self.shuffle { "shuffles" } else { "tiles" };
        write!(f, "{} rows a lane, {} lanes, by {by}", self.rows, self.lanes)?;
        if self.shuffle { Ok(()) } else { write!(f, ", {} at once", self.keys) }
    }
}

/// The numbers and flags of `shaders/attention.wgsl`; see there.
#[derive(Clone, Debug)]
pub(super) struct Text {
    pass: Pass,
    /// The other side's rows come by subgroup shuffles, not through workgroup memory.
    shuffle: bool,
    /// The lane's own rows stay in registers.
    held: bool,
    /// Rows are read as images: on a CPU that is many times faster than from buffers.
    images: bool,
    /// qkv, output and their gradients are f16.
    half: bool,
    lanes: usize,
    rows: usize,
    keys: usize,
    tile: usize,
    /// A barrier stands before a gradient's sums.
    apart: bool,
}

/// Bytes of workgroup memory a kernel may use anywhere (WebGPU's floor).
const WORKGROUP_BYTES: usize = 16 << 10;
/// Registers of four bytes that one lane may fill before a GPU spills them.
const REGISTERS: usize = 160;

impl Text {
    /// The text for a device.
    pub fn choose(pass: Pass, layout: &Layout, device: &Traits, key: &str) -> Self {
        let way = Tuning::chosen(key, &Way::all(layout, device, pass.is_gradient()), device);
        if way.shuffle { Self::shuffle(pass, layout, &way) } else { Self::tiled(pass, layout, &way) }
    }

    /// Rows in registers, for drivers that run on a CPU.
    fn shuffle(pass: Pass, layout: &Layout, way: &Way) -> Self {
        let Way { lanes, rows, .. } = *way;
        let images = layout.fits_images();
        let half = layout.half;
        Self {
            pass,
            shuffle: true,
            held: true,
            images,
            half,
            lanes,
            rows,
            keys: lanes,
            tile: lanes,
            apart: false,
        }
    }

    /// Tiles in workgroup memory, for every GPU.
    fn tiled(pass: Pass, layout: &Layout, way: &Way) -> Self {
        // Two rows of a head's width, lse and delta; the entropy's gradient.
        let bytes = 2 * layout.width * 4 + if pass.guided() { 12 } else { 8 };
        let fit = (WORKGROUP_BYTES / bytes).min(64);
        let (sums, read) = pass.kept();
        let Way { lanes, rows, keys, apart, .. } = *way;
        let held = rows * (sums + read) * layout.width <= REGISTERS;
        let (half, tile) = (layout.half, fit / keys * keys);
        Self { pass, shuffle: false, held, images: false, half, lanes, rows, keys, tile, apart }
    }

    /// The dispatch over all rows of all heads.
    pub fn dispatch(&self, layout: &Layout, mut bindings: Vec<Binding>) -> Dispatch {
        /// Numbers of a row, which are no image.
        const NUMBERS: [&str; 3] = ["lse", "entropy", "d_entropy"];
        for (name, operand) in &mut bindings {
            if let (true, Operand::Input(i)) = (self.images && !NUMBERS.contains(name), *operand) {
                *operand = Operand::InputImage(i);
            }
        }
        let constants = [
            ("HEADS", layout.n_head as f64),
            ("SEQUENCE", layout.sequence as f64),
            ("SCALE", layout.scale()),
        ];
        let fragments = element::fragments(self.half);
        let kernel = Kernel::new(fragments, &self.wgsl(layout.width), self.pass.entry(), &constants);
        let blocks = layout.sequence.div_ceil(self.lanes * self.rows);
        let groups = [blocks, layout.n_head, layout.batch].map(axis);
        Dispatch { kernel, bindings, groups }
    }

    fn wgsl(&self, width: usize) -> String {
        let numbers = [
            ("columns", width / 4),
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
            ("entropy", self.pass == Pass::Forward { entropy: true }),
            ("guided", self.pass.guided()),
            ("apart", self.apart),
        ]);
        let texts = [
            ("element", element::scalar(self.half)),
            ("narrow", element::narrow(self.half, 4)),
            ("texel", element::texel(self.half)),
        ];
        unroll(include_str!("../../../shaders/attention.wgsl"), &numbers, &flags, &texts)
    }
}
