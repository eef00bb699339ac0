//! The variants of a product, and what their texts have in common.

use super::product::Sizes;
use std::fmt;

/// How a device computes a matrix product. Every variant supports every shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// No workgroup memory and no barriers: tiles of `rows` x (4 `lanes` `vectors`) in registers. With `shuffle`,
    /// the workgroup must be exactly one subgroup of `lanes` lanes. Best on drivers that run on the CPU.
    /// With `images`, operands that fit are read as images: lavapipe loads from buffers one lane after the other, through
    /// the stack if the CPU has no AVX-512, but from images all lanes at once.
    Rows { lanes: u32, rows: u32, vectors: u32, shuffle: bool, images: bool },
    /// Tiles in workgroup memory, `depth` steps of K at a time; `down` x `across` invocations of 4 `high` x
    /// 4 `wide` elements each. `split` workgroups share the K of each tile.
    Tiled { high: u32, wide: u32, down: u32, across: u32, depth: u32, split: u32 },
    /// The device's matrix units, for f16 operands: tiles in workgroup memory, `depth` steps of K at a time; `down` x
    /// `across` subgroups of `lanes` lanes, each with `high` x `wide` fragments of `side` x `side`. The lines of `turned`
    /// tiles run along K, whatever the layout of the operands.
    Cooperative {
        side: u32,
        lanes: u32,
        high: u32,
        wide: u32,
        down: u32,
        across: u32,
        depth: u32,
        turned: bool,
    },
}

impl Variant {
    /// Rows and columns of C that one workgroup computes.
    pub fn tile(self) -> (u32, u32) {
        match self {
            Self::Rows { lanes, rows, vectors, .. } => (rows, 4 * lanes * vectors),
            Self::Tiled { high, wide, down, across, .. } => (4 * high * down, 4 * wide * across),
            Self::Cooperative { side, high, wide, down, across, .. } => {
                (side * high * down, side * wide * across)
            }
        }
    }

    /// The same with `turned` tiles, on matrix units.
    pub(super) fn turned(self) -> Self {
        match self {
            Self::Cooperative { side, lanes, high, wide, down, across, depth, .. } => {
                Self::Cooperative { side, lanes, high, wide, down, across, depth, turned: true }
            }
            other => other,
        }
    }

    /// Workgroups that share one tile.
    pub fn split(self) -> usize {
        if let Self::Tiled { split, .. } = self { split as usize } else { 1 }
    }

    /// Whether all extents are whole tiles, so that no access needs a guard.
    pub fn is_even(self, sizes: &Sizes) -> bool {
        let depth = match self {
            Self::Rows { .. } => return false,
            Self::Tiled { depth, split, .. } => depth * split,
            Self::Cooperative { depth, .. } => depth,
        };
        let (rows, columns) = self.tile();
        let extents = [(sizes.m, rows), (sizes.n, columns), (sizes.k, depth)];
        extents.into_iter().all(|(extent, of)| extent.is_multiple_of(of as usize))
    }

    /// Steps of K that one of them sums: whole tiles.
    pub fn part(self, k: usize) -> usize {
        let depth = if let Self::Tiled { depth, .. } = self { depth as usize } else { 4 };
        k.div_ceil(self.split()).next_multiple_of(depth)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Rows { lanes, rows, vectors, shuffle, images } => {
                let shuffle = if shuffle { " shuffled" } else { "" };
                let images = if images { " from images" } else { "" };
                write!(f, "rows {rows}x{} of {lanes} lanes{shuffle}{images}", 4 * lanes * vectors)
            }
            Self::Tiled { high, wide, down, across, depth, split } => {
                let (rows, columns) = self.tile();
                write!(f, "tiles {rows}x{columns}x{depth} of {}x{} in {down}x{across}", 4 * high, 4 * wide)?;
                if split > 1 { write!(f, " split {split}") } else { Ok(()) }
            }
            Self::Cooperative { side, high, wide, down, across, depth, turned, .. } => {
                let (rows, columns) = self.tile();
                let turned = if turned { " turned" } else { "" };
                write!(
                    f,
                    "matrix units {rows}x{columns}x{depth} of {}x{} in {down}x{across}{turned}",
                    side * high,
                    side * wide
                )
            }
        }
    }
}

/// The first `LADDER` candidates are ordered by size, and the default is one of them.
pub const LADDER: usize = 4;

pub(super) const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// Appends one formatted line.
macro_rules! line {
    ($out:expr, $($format:tt)*) => { writeln!($out, $($format)*).expect("a string takes all") };
}
pub(super) use line;
