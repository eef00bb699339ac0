//! Text of the kernel on matrix units, and its tiles.

use super::product::{Layout, Sizes};
use super::variant::{Variant, line};
use crate::ops::{Traits, Vendor};
use crate::tape::DType;
use std::fmt::Write;

/// Tiles on matrix units, if the device has them and the operands are f16. Those of `variant::LADDER` come first.
pub(super) fn candidates(layout: Layout, sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    let (side, lanes) = (device.cooperative, device.lanes);
    if side == 0 || lanes == 0 || sizes.operands != DType::F16 {
        return Vec::new();
    }
    let tile = |&(high, wide, down, across, depth): &(u32, u32, u32, u32, u32)| Variant::Cooperative {
        side,
        lanes,
        high,
        wide,
        down,
        across,
        depth,
        turned: false,
    };
    let mut tiles = [
        (4, 4, 2, 2, 16),
        (4, 2, 2, 2, 16),
        (2, 2, 2, 2, 32),
        (1, 1, 2, 2, 32),
        (2, 4, 2, 2, 16),
        (2, 2, 2, 4, 16),
        (4, 2, 2, 4, 32),
        (4, 2, 2, 4, 16),
    ];
    // On AMD's cards, 256 invocations share a 128x128 tile, with fewer sums each.
    if device.vendor == Vendor::Amd && lanes == 32 {
        let last = tiles.len() - 1;
        tiles.swap(0, last);
    }
    let fits = |&&(high, wide, down, across, depth): &&(u32, u32, u32, u32, u32)| {
        let (rows, columns) = (side * high * down, side * wide * across);
        // The most that a tile takes in either direction of its lines, gaps included.
        let tile = |along: u32| 2 * (along * (depth + 8)).max(depth * (along + 8));
        let bytes = tile(rows) + tile(columns) + 4 * side * side * down * across;
        lanes * down * across <= device.max_invocations && bytes <= device.workgroup_memory
    };
    let mut all: Vec<Variant> = tiles.iter().filter(fits).map(tile).collect();
    if layout != Layout::NT {
        // AMD's compiler reads a fragment with sixteen loads of two bytes if its lines do not run along K, and with two loads
        // of sixteen bytes if they do. The former would wait for workgroup memory, not for the units.
        let fits = |variant: &&Variant| {
            // With sixteen fragments on 32 lanes, the same compiler spills registers.
            !matches!(variant, Variant::Cooperative { high: 4, wide: 4, lanes: ..=32, .. })
        };
        let turned = all.iter().filter(fits).map(|tile| tile.turned()).collect();
        all = if device.vendor == Vendor::Amd { [turned, all] } else { [all, turned] }.concat();
    }
    all
}

pub(super) fn fragments(side: u32, high: u32, wide: u32) -> String {
    let mut out = String::new();
    for h in 0..high {
        for w in 0..wide {
            line!(out, "    var s{h}_{w} = coop_mat{side}x{side}<f32, C>();");
        }
    }
    out
}

/// Whether the tiles of A and of B are transposed so that their lines run along K.
pub(super) fn turned(layout: Layout, variant: Variant) -> (bool, bool) {
    let turns = matches!(variant, Variant::Cooperative { turned: true, .. });
    (turns && layout == Layout::TN, turns && layout != Layout::NT)
}

/// Whether the lines of the tiles of A and of B run along K, either in memory already or because they are transposed.
pub(super) fn deep(layout: Layout, variant: Variant) -> (bool, bool) {
    let (a_turned, b_turned) = turned(layout, variant);
    (layout != Layout::TN || a_turned, layout == Layout::NT || b_turned)
}

/// How many parts of the tiles of A and of B a thread loads.
pub(super) type Rounds = [(&'static str, u32); 2];

pub(super) fn rounds(
    side: u32,
    lanes: u32,
    (high, wide): (u32, u32),
    (down, across): (u32, u32),
    depth: u32,
    (a_turned, b_turned): (bool, bool),
) -> Rounds {
    let of = |fragments: u32, turned: bool| {
        let part = if turned { 16 } else { 4 };
        (side * fragments * depth / part).div_ceil(lanes * down * across)
    };
    [("a", of(high * down, a_turned)), ("b", of(wide * across, b_turned))]
}

/// Fetches each thread's parts into registers: those of the first tiles, which also declares the registers
/// (`declared`), or those of the next tiles. A thread without a part fetches the last one and drops it.
pub(super) fn fetches(rounds: Rounds, declared: bool) -> String {
    let (indent, var, k) = if declared { ("    ", "var ", "0u") } else { ("            ", "", "k + DEPTH") };
    let mut out = String::new();
    for (tile, rounds) in rounds {
        let (all, from) = if tile == "a" { ("A_PARTS", "row") } else { ("B_PARTS", "column") };
        for i in 0..rounds {
            let v = format!("min(thread + {i}u * THREADS, {all} - 1u)");
            line!(out, "{indent}{var}{tile}p{i} = {tile}_fetched({v}, {from}, {k});");
        }
    }
    out
}

/// Stores them into the tiles.
pub(super) fn puts(rounds: Rounds) -> String {
    let mut out = String::new();
    for (tile, rounds) in rounds {
        let all = if tile == "a" { "A_PARTS" } else { "B_PARTS" };
        for i in 0..rounds {
            line!(out, "        if thread + {i}u * THREADS < {all} {{");
            line!(out, "            put_{tile}(thread + {i}u * THREADS, {tile}p{i});");
            line!(out, "        }}");
        }
    }
    out
}

/// Fragments are loaded along their lines: rows with `coopLoadT`, columns with `coopLoad`.
pub(super) fn products((a_deep, b_deep): (bool, bool), side: u32, high: u32, wide: u32) -> String {
    let mut out = String::new();
    for h in 0..high {
        let (load, at) = match a_deep {
            true => ("coopLoadT", format!("(down + {h}u * SIDE) * A_STRIDE + deep")),
            false => ("coopLoad", format!("deep * A_STRIDE + down + {h}u * SIDE")),
        };
        line!(
            out,
            "            let a{h} = {load}<coop_mat{side}x{side}<f16, A>>(&fragments_a[{at}], A_STRIDE);"
        );
    }
    for w in 0..wide {
        let (load, at) = match b_deep {
            true => ("coopLoad", format!("(across + {w}u * SIDE) * B_STRIDE + deep")),
            false => ("coopLoadT", format!("deep * B_STRIDE + across + {w}u * SIDE")),
        };
        line!(
            out,
            "            let b{w} = {load}<coop_mat{side}x{side}<f16, B>>(&fragments_b[{at}], B_STRIDE);"
        );
    }
    for h in 0..high {
        for w in 0..wide {
            line!(out, "            s{h}_{w} = coopMultiplyAdd(a{h}, b{w}, s{h}_{w});");
        }
    }
    out
}

/// Writes one fragment of each subgroup at a time, four elements per lane, always in the same columns of the fragment.
pub(super) fn stores(bias: bool, high: u32, wide: u32) -> String {
    let mut out = String::new();
    line!(out, "    let home = subgroup * SIDE * SIDE;");
    for w in 0..wide {
        line!(out, "    let to{w} = column + across + {w}u * SIDE + 4u * lane % SIDE;");
        if bias {
            line!(out, "    let bias{w} = bias_at(to{w});");
        }
    }
    for h in 0..high {
        for w in 0..wide {
            let bias = if bias { format!(" + bias{w}") } else { String::new() };
            line!(out, "    workgroupBarrier();");
            line!(out, "    coopStoreT(s{h}_{w}, &finished[home], SIDE);");
            line!(out, "    workgroupBarrier();");
            line!(out, "    for (var v = lane; v < SIDE * SIDE / 4u; v += LANES) {{");
            line!(out, "        let first = home + 4u * v;");
            line!(
                out,
                "        let sum = vec4(finished[first], finished[first + 1u], finished[first + 2u], finished[first + 3u]);"
            );
            line!(out, "        write(row + down + {h}u * SIDE + 4u * v / SIDE, to{w}, sum{bias});");
            line!(out, "    }}");
        }
    }
    out
}
