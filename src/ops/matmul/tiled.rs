//! Text of the kernel with tiles in workgroup memory.

use super::variant::{COMPONENTS, line};
use std::fmt::Write;

/// How many 4 x 4 blocks of the two tiles a thread loads.
pub(super) fn rounds(high: u32, wide: u32, (down, across): (u32, u32), depth: u32) -> u32 {
    ((high * down + wide * across) * (depth / 4)).div_ceil(down * across)
}

/// Fetches each thread's blocks into registers: those of the first tiles, which also declares the registers (`declared`),
/// or those of the next tiles. A thread without a block fetches the last one and drops it.
pub(super) fn fetches(rounds: u32, declared: bool) -> String {
    let (indent, var, k) =
        if declared { ("    ", "var ", "begin") } else { ("            ", "", "k + DEPTH") };
    let mut out = String::new();
    for i in 0..rounds {
        line!(
            out,
            "{indent}{var}p{i} = fetched(min(thread + {i}u * THREADS, BLOCKS - 1u), row, column, {k});"
        );
    }
    out
}

/// Stores them into the tiles.
pub(super) fn puts(rounds: u32) -> String {
    let mut out = String::new();
    for i in 0..rounds {
        line!(out, "        if thread + {i}u * THREADS < BLOCKS {{");
        line!(out, "            put(thread + {i}u * THREADS, p{i});");
        line!(out, "        }}");
    }
    out
}

pub(super) fn products(high: u32, wide: u32) -> String {
    let mut out = String::new();
    for h in 0..high {
        line!(out, "            let a{h} = tile_a[deep * (ROWS / 4u) + {h}u * DOWN + down];");
    }
    for w in 0..wide {
        line!(out, "            let b{w} = tile_b[deep * (COLUMNS / 4u) + {w}u * ACROSS + across];");
    }
    for r in 0..4 * high {
        for w in 0..wide {
            line!(out, "            s{r}_{w} += a{}.{} * b{w};", r / 4, COMPONENTS[(r % 4) as usize]);
        }
    }
    out
}

/// Writes finished elements or, if K is split, their partial sums.
pub(super) fn stores(bias: bool, high: u32, wide: u32, split: bool) -> String {
    let write = if split { "keep(group.z, " } else { "write(" };
    let mut out = String::new();
    for w in 0..wide {
        line!(out, "    let column{w} = column + ({w}u * ACROSS + across) * 4u;");
        if bias {
            line!(out, "    let bias{w} = bias_at(column{w});");
        }
    }
    for r in 0..4 * high {
        for w in 0..wide {
            let bias = if bias { format!(" + bias{w}") } else { String::new() };
            let block = format!("({}u * DOWN + down) * 4u", r / 4);
            line!(out, "    {write}row + {block} + {}u, column{w}, s{r}_{w}{bias});", r % 4);
        }
    }
    out
}
