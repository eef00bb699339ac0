//! The matrix product's WGSL: its variants, and the shader parameters of each.
//!
//! In every kernel, an accumulator `s{row}_{vector}` holds four neighbouring columns of one row. Layouts differ only
//! in how four consecutive elements in memory become four columns of B (`b{vector}_{step}`) and one element of A.

use super::product::{Layout, MatMul, Sizes};
use super::rows::Rows;
use super::variant::{LADDER, Variant, line};
use super::{tiled, units};
use crate::ops::unroll::unroll;
use crate::ops::{Traits, Vendor, element, fits_image};
use crate::tape::DType;
use std::fmt::Write;
use std::sync::Arc;

/// The variants of a device that are worth measuring.
pub fn candidates(layout: Layout, sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    if !device.software {
        return tiled(layout, sizes, device);
    }
    let shuffle = device.lanes >= 4;
    let lanes = if shuffle { device.lanes } else { 8 };
    // If one tile is as wide as C, B is read once per 32 rows: a tenth to a third faster on two cores with AVX2.
    let narrow = shuffle && sizes.n > 8 * lanes as usize && sizes.n <= 16 * lanes as usize;
    let tiles: &[(u32, u32)] = match shuffle {
        true if narrow => &[(32, 4), (16, 4), (16, 1), (8, 1), (32, 2), (16, 2), (64, 2)],
        true => &[(32, 2), (16, 2), (16, 1), (8, 1), (32, 4), (16, 4), (64, 2)],
        false => &[(8, 2), (8, 1), (4, 2), (4, 1)],
    };
    let rows = |&(rows, vectors): &(u32, u32)| Variant::Rows { lanes, rows, vectors, shuffle, images: true };
    // Tiles that exceed the matrix by half or more waste work.
    let fits = |(i, tile): &(usize, (u32, u32))| {
        *i < LADDER || (tile.0 / 2 < sizes.m as u32 && 2 * lanes * tile.1 < sizes.n as u32)
    };
    tiles.iter().copied().enumerate().filter(fits).map(|(_, tile)| rows(&tile)).collect()
}

/// Tiles in workgroup memory; registers and shuffles if subgroups have a known width; and a split K if the grid
/// would leave most of a card idle.
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
    // 4x4 blocks per invocation, invocations, and steps of K, from large to small: 128x128 to 32x32.
    const LARGE: [[u32; 5]; LADDER] =
        [[2, 2, 16, 16, 16], [2, 1, 16, 16, 16], [1, 1, 16, 16, 32], [1, 1, 8, 8, 32]];
    // 64x64 to 32x32. In the largest, an invocation has half as many sums as in the largest above.
    const SMALL: [[u32; 5]; LADDER] =
        [[2, 1, 8, 16, 16], [1, 1, 16, 16, 32], [1, 1, 8, 16, 32], [1, 1, 8, 8, 32]];
    const MORE: [[u32; 5]; 4] = [[1, 2, 16, 16, 16], [2, 2, 8, 16, 16], [2, 2, 16, 16, 8], [2, 2, 8, 8, 16]];
    // As in other implementations: the large ones on NVIDIA's cards and on AMD's with matrix units, the small ones
    // elsewhere.
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
    // With 64 lanes, AMD's compiler spills the registers of these variants on gfx1100.
    if (8..64).contains(&device.lanes) {
        let lanes = device.lanes;
        let rows = |rows, vectors| Variant::Rows { lanes, rows, vectors, shuffle: true, images: false };
        list.extend([rows(16, 1), rows(32, 1)]);
    }
    for split in [2, 4, 8] {
        for (high, wide, down, across, depth) in [(2, 2, 16, 16, 16), (1, 1, 16, 16, 32)] {
            let (rows, columns) = (4 * high * down, 4 * wide * across);
            let groups = sizes.m.div_ceil(rows as usize) * sizes.n.div_ceil(columns as usize);
            // For parts of K below 256, adding them up costs more than it saves.
            if groups <= 64 && sizes.k >= 256 * split as usize {
                list.push(Variant::Tiled { high, wide, down, across, depth, split });
            }
        }
    }
    list
}

const TEMPLATE: &str = include_str!("../../../shaders/matmul.wgsl");

/// The whole WGSL text of `op` at `sizes`.
pub fn text(op: &MatMul, sizes: &Sizes, variant: Variant) -> Arc<str> {
    text_that_shows(op, sizes, variant, false)
}

/// The same; with `sized`, a kernel on matrix units also writes the subgroup width at which it ran.
pub fn text_that_shows(op: &MatMul, sizes: &Sizes, variant: Variant, sized: bool) -> Arc<str> {
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

/// Whether a buffer holds f16.
fn buffers_half(sizes: &Sizes, variant: Variant) -> bool {
    let (operands, result) = halves(sizes);
    result || operands && images(sizes, variant) != (true, true)
}

/// Whether A and B are read as images, as far as buffer-to-image copies and the image size allow.
pub fn images(sizes: &Sizes, variant: Variant) -> (bool, bool) {
    let wanted = matches!(variant, Variant::Rows { images: true, .. });
    let fits = |rows, columns| wanted && fits_image(rows, columns, sizes.operands);
    (fits(sizes.a_rows, sizes.a_columns), fits(sizes.b_rows, sizes.b_columns))
}

/// Whether the addend, which has the shape of C, is read as an image.
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

fn accumulators(rows: u32, vectors: u32) -> String {
    let mut out = String::new();
    for r in 0..rows {
        for j in 0..vectors {
            line!(out, "    var s{r}_{j} = vec4<f32>();");
        }
    }
    out
}
