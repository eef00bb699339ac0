//! The matrix product's WGSL: its variants, and what its shader is given for each.
//!
//! In every kernel an accumulator `s{row}_{vector}` is four neighbouring columns of one row. Layouts differ only
//! in how four elements along memory become four columns of B (`b{vector}_{step}`) and one element of A.

use super::rows::Rows;
use super::{Layout, MatMul, Sizes, tiled, units};
use crate::ops::unroll::unroll;
use crate::ops::{Traits, Vendor, element, fits_image};
use crate::tape::DType;
use std::fmt::{self, Write};

/// How a device computes a matrix product. Every variant takes every shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Variant {
    /// No workgroup memory and no barriers: tiles of `rows` x (4 `lanes` `vectors`) in registers. With `shuffle`
    /// the workgroup must be exactly one subgroup, of `lanes` lanes. Best on drivers that run on the CPU.
    /// With `images` the operands are read as images where they fit: lavapipe loads from buffers one lane after
    /// the other, through the stack where the CPU has no AVX-512, and from images all lanes at once.
    Rows { lanes: u32, rows: u32, vectors: u32, shuffle: bool, images: bool },
    /// Tiles in workgroup memory, `depth` steps of K at a time; `down` x `across` invocations of 4 `high` x
    /// 4 `wide` elements each. With a `split` above one, so many workgroups share the K of each tile.
    Tiled { high: u32, wide: u32, down: u32, across: u32, depth: u32, split: u32 },
    /// The device's matrix units, for operands in f16: tiles in workgroup memory, `depth` steps of K at a time; `down` x
    /// `across` subgroups of `lanes` lanes, each with `high` x `wide` fragments of `side` x `side`. `turned` tiles lie along
    /// K, however the operands do.
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

    /// The same with turned tiles, on matrix units.
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

    /// Whether all extents are whole tiles, so that no place needs a guard.
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

    /// Steps of K that one of them takes: whole tiles.
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

/// So many candidates come first, ordered by size; the default is one of them.
pub const LADDER: usize = 4;

/// The variants of a device that are worth a measurement.
pub fn candidates(layout: Layout, sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    if !device.software {
        return tiled(layout, sizes, device);
    }
    let shuffle = device.lanes >= 4;
    let lanes = if shuffle { device.lanes } else { 8 };
    // Where one tile is as wide as C, B is read once for each 32 rows: a tenth to a third faster on two cores of AVX2.
    let narrow = shuffle && sizes.n > 8 * lanes as usize && sizes.n <= 16 * lanes as usize;
    let tiles: &[(u32, u32)] = match shuffle {
        true if narrow => &[(32, 4), (16, 4), (16, 1), (8, 1), (32, 2), (16, 2), (64, 2)],
        true => &[(32, 2), (16, 2), (16, 1), (8, 1), (32, 4), (16, 4), (64, 2)],
        false => &[(8, 2), (8, 1), (4, 2), (4, 1)],
    };
    let rows = |&(rows, vectors): &(u32, u32)| Variant::Rows { lanes, rows, vectors, shuffle, images: true };
    // Tiles that exceed the matrix by half or more only waste work.
    let fits = |(i, tile): &(usize, (u32, u32))| {
        *i < LADDER || (tile.0 / 2 < sizes.m as u32 && 2 * lanes * tile.1 < sizes.n as u32)
    };
    tiles.iter().copied().enumerate().filter(fits).map(|(_, tile)| rows(&tile)).collect()
}

/// Tiles in workgroup memory; registers and shuffles where subgroups have a known width; and K split where the
/// grid would leave most of a card idle.
fn tiled(layout: Layout, sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    let mut list = units::candidates(layout, sizes, device);
    let tile = |[high, wide, down, across, depth]: [u32; 5]| Variant::Tiled {
        high,
        wide,
        down,
        across,
        depth,
        split: 1,
    };
    // Blocks of 4x4 of an invocation, invocations, and steps of K, from large to small: 128x128 to 32x32.
    const LARGE: [[u32; 5]; LADDER] =
        [[2, 2, 16, 16, 16], [2, 1, 16, 16, 16], [1, 1, 16, 16, 32], [1, 1, 8, 8, 32]];
    // 64x64 to 32x32. An invocation of the largest has half the sums of one above.
    const SMALL: [[u32; 5]; LADDER] =
        [[2, 1, 8, 16, 16], [1, 1, 16, 16, 32], [1, 1, 8, 16, 32], [1, 1, 8, 8, 32]];
    const MORE: [[u32; 5]; 4] = [[1, 2, 16, 16, 16], [2, 2, 8, 16, 16], [2, 2, 16, 16, 8], [2, 2, 8, 8, 16]];
    // What others settled on: the large ones on NVIDIA's cards and on AMD's with matrix units, elsewhere the small ones.
    let small = match device.vendor {
        Vendor::Amd => device.cooperative == 0,
        Vendor::Apple | Vendor::Intel => true,
        Vendor::Other => false,
    };
    let mut tiles = if small { [SMALL, LARGE] } else { [LARGE, SMALL] }.concat();
    let mut seen = Vec::new();
    tiles.extend(MORE);
    tiles.retain(|tile| {
        !seen.contains(tile) && {
            seen.push(*tile);
            true
        }
    });
    list.extend(tiles.into_iter().map(tile));
    // With 64 lanes AMD's compiler spills them on gfx1100.
    if (8..64).contains(&device.lanes) {
        let lanes = device.lanes;
        let rows = |rows, vectors| Variant::Rows { lanes, rows, vectors, shuffle: true, images: false };
        list.extend([rows(16, 1), rows(32, 1)]);
    }
    for split in [2, 4, 8] {
        for (high, wide, down, across, depth) in [(2, 2, 16, 16, 16), (1, 1, 16, 16, 32)] {
            let (rows, columns) = (4 * high * down, 4 * wide * across);
            let groups = sizes.m.div_ceil(rows as usize) * sizes.n.div_ceil(columns as usize);
            // A part of K below 256 would not pay for adding it up.
            if groups <= 64 && sizes.k >= 256 * split as usize {
                list.push(Variant::Tiled { high, wide, down, across, depth, split });
            }
        }
    }
    list
}

const TEMPLATE: &str = include_str!("../../../shaders/matmul.wgsl");
pub(super) const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// The whole WGSL text of `op` at `sizes`.
pub fn text(op: &MatMul, sizes: &Sizes, variant: Variant) -> String {
    text_that_shows(op, sizes, variant, false)
}

/// The same; with `sized` a kernel on matrix units also shows at which width of subgroups it ran.
pub fn text_that_shows(op: &MatMul, sizes: &Sizes, variant: Variant, sized: bool) -> String {
    let (a_image, b_image) = images(sizes, variant);
    let (a_turned, b_turned) = units::turned(op.layout, variant);
    let (a_deep, b_deep) = units::deep(op.layout, variant);
    let flags = [
        ("a_image", a_image),
        ("b_image", b_image),
        ("a_whole", sizes.a_columns.is_multiple_of(4)),
        ("b_whole", sizes.b_columns.is_multiple_of(4)),
        ("c_whole", sizes.n.is_multiple_of(4)),
        ("a_transposed", op.layout == Layout::TN),
        ("b_transposed", op.layout == Layout::NT),
        ("a_turned", a_turned),
        ("b_turned", b_turned),
        ("a_deep", a_deep),
        ("b_deep", b_deep),
        ("bias", op.bias),
        ("addend", op.addend),
        ("addend_image", op.addend && addend_image(sizes, variant)),
        ("accumulate", op.accumulate),
        ("rows", matches!(variant, Variant::Rows { .. })),
        ("shuffle", matches!(variant, Variant::Rows { shuffle: true, .. })),
        ("tiled", matches!(variant, Variant::Tiled { .. })),
        ("cooperative", matches!(variant, Variant::Cooperative { .. })),
        ("tiles", !matches!(variant, Variant::Rows { .. })),
        ("even", variant.is_even(sizes)),
        ("split", variant.split() > 1),
        ("sized", sized),
        ("half", buffers_half(sizes, variant)),
    ];
    let (operands, result) = halves(sizes);
    let mut texts = unrolled(op, sizes, variant);
    texts.extend([
        ("operand", element::scalar(operands)),
        ("texel", element::texel(operands)),
        ("result", element::scalar(result)),
        ("narrow1", element::narrow(result, 1)),
        ("narrow4", element::narrow(result, 4)),
    ]);
    unroll(TEMPLATE, &[("lanes", element::LANES)], &flags, &texts)
}

/// Whether A and B, and whether C, are f16.
fn halves(sizes: &Sizes) -> (bool, bool) {
    (sizes.operands == DType::F16, sizes.result == DType::F16)
}

/// Whether there is f16 in a buffer.
fn buffers_half(sizes: &Sizes, variant: Variant) -> bool {
    let (operands, result) = halves(sizes);
    result || operands && images(sizes, variant) != (true, true)
}

/// Whether A and B are read as images: what a copy from a buffer and the size of an image allow.
pub fn images(sizes: &Sizes, variant: Variant) -> (bool, bool) {
    let wanted = matches!(variant, Variant::Rows { images: true, .. });
    let fits = |rows, columns| wanted && fits_image(rows, columns, sizes.operands);
    (fits(sizes.a_rows, sizes.a_columns), fits(sizes.b_rows, sizes.b_columns))
}

/// Whether the addend, which is shaped like C, is read as an image.
pub fn addend_image(sizes: &Sizes, variant: Variant) -> bool {
    matches!(variant, Variant::Rows { images: true, .. }) && fits_image(sizes.m, sizes.n, DType::F32)
}

fn unrolled(op: &MatMul, sizes: &Sizes, variant: Variant) -> Vec<(&'static str, String)> {
    match variant {
        Variant::Rows { lanes, rows, vectors, shuffle, .. } => {
            let rows = Rows { op, lanes, rows, vectors, shuffle, whole_k: sizes.k.is_multiple_of(4) };
            vec![
                ("tile", format!("const ROWS = {}u;\nconst VECTORS = {vectors}u;\n", rows.rows)),
                ("origins", rows.origins()),
                ("accumulators", accumulators(rows.rows, vectors)),
                ("first", String::new()),
                ("puts", String::new()),
                ("next", String::new()),
                ("loads", rows.loads()),
                ("products", rows.products()),
                ("stores", rows.stores()),
            ]
        }
        Variant::Tiled { high, wide, down, across, depth, split } => {
            let rounds = tiled::rounds(high, wide, (down, across), depth);
            vec![
                (
                    "tile",
                    format!(
                        "const HIGH = {high}u;\nconst WIDE = {wide}u;\nconst DOWN = {down}u;\n\
                     const ACROSS = {across}u;\nconst DEPTH = {depth}u;\n"
                    ),
                ),
                ("origins", String::new()),
                ("accumulators", accumulators(4 * high, wide)),
                ("first", tiled::fetches(rounds, true)),
                ("puts", tiled::puts(rounds)),
                ("next", tiled::fetches(rounds, false)),
                ("loads", String::new()),
                ("products", tiled::products(high, wide)),
                ("stores", tiled::stores(op.bias && split == 1, high, wide, split > 1)),
            ]
        }
        Variant::Cooperative { side, lanes, high, wide, down, across, depth, .. } => {
            let turned = units::turned(op.layout, variant);
            let deep = units::deep(op.layout, variant);
            let rounds = units::rounds(side, lanes, (high, wide), (down, across), depth, turned);
            vec![
                (
                    "tile",
                    format!(
                        "enable wgpu_cooperative_matrix;\nconst LANES = {lanes}u;\nconst SIDE = {side}u;\nconst HIGH = {high}u;\n\
                     const WIDE = {wide}u;\nconst DOWN = {down}u;\nconst ACROSS = {across}u;\n\
                     const DEPTH = {depth}u;\n"
                    ),
                ),
                ("origins", String::new()),
                ("accumulators", units::fragments(side, high, wide)),
                ("first", units::fetches(rounds, true)),
                ("puts", units::puts(rounds)),
                ("next", units::fetches(rounds, false)),
                ("loads", String::new()),
                ("products", units::products(deep, side, high, wide)),
                ("stores", units::stores(op.bias, high, wide)),
            ]
        }
    }
}

/// Appends one formatted line.
macro_rules! line {
    ($out:expr, $($format:tt)*) => { writeln!($out, $($format)*).expect("a string takes all") };
}
pub(super) use line;

fn accumulators(rows: u32, vectors: u32) -> String {
    let mut out = String::new();
    for r in 0..rows {
        for j in 0..vectors {
            line!(out, "    var s{r}_{j} = vec4<f32>();");
        }
    }
    out
}
