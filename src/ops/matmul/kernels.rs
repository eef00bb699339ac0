//! The matrix product's WGSL: one template, and the unrolled text that all layouts share.
//!
//! In every kernel an accumulator `s{row}_{vector}` is four neighbouring columns of one row. Layouts differ only
//! in how four elements along memory become four columns of B (`b{vector}_{step}`) and one element of A.

use super::{Layout, MatMul, Sizes};
use crate::ops::unroll::unroll;
use crate::ops::{Traits, element, fits_image};
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
    /// `across` subgroups of `lanes` lanes, each with `high` x `wide` fragments of `side` x `side`.
    Cooperative { side: u32, lanes: u32, high: u32, wide: u32, down: u32, across: u32, depth: u32 },
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

    /// Workgroups that share one tile.
    pub fn split(self) -> usize {
        if let Self::Tiled { split, .. } = self { split as usize } else { 1 }
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
            Self::Cooperative { side, high, wide, down, across, depth, .. } => {
                let (rows, columns) = self.tile();
                write!(
                    f,
                    "matrix units {rows}x{columns}x{depth} of {}x{} in {down}x{across}",
                    side * high,
                    side * wide
                )
            }
        }
    }
}

/// The first so many candidates are ordered by size, for choosing one without measurement.
pub const LADDER: usize = 4;

/// Lanes of a workgroup that adds up the parts of a split product: `TOTAL_LANES` of the shader.
pub const TOTAL_LANES: usize = 64;

/// What a device could compute a product with, worth a measurement.
pub fn candidates(sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    if !device.software {
        return tiled(sizes, device);
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
    // Tiles that reach over the matrix by half or more only waste work.
    let fits = |(i, tile): &(usize, (u32, u32))| {
        *i < LADDER || (tile.0 / 2 < sizes.m as u32 && 2 * lanes * tile.1 < sizes.n as u32)
    };
    tiles.iter().copied().enumerate().filter(fits).map(|(_, tile)| rows(&tile)).collect()
}

/// Tiles in workgroup memory; registers and shuffles where subgroups have a known width; and K split where the
/// grid would leave most of a card idle.
fn tiled(sizes: &Sizes, device: &Traits) -> Vec<Variant> {
    let mut list = cooperative(sizes, device);
    let tile =
        |(high, wide, down, across, depth)| Variant::Tiled { high, wide, down, across, depth, split: 1 };
    let tiles = [
        (2, 2, 16, 16, 16),
        (2, 1, 16, 16, 16),
        (1, 1, 16, 16, 32),
        (1, 1, 8, 8, 32),
        (1, 2, 16, 16, 16),
        (2, 2, 8, 16, 16),
        (2, 2, 16, 16, 8),
        (2, 2, 8, 8, 16),
    ];
    list.extend(tiles.map(tile));
    if device.lanes >= 8 {
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

/// Tiles on matrix units, where the device has such and the operands are what they take: first the [`LADDER`].
fn cooperative(sizes: &Sizes, device: &Traits) -> Vec<Variant> {
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
    };
    let tiles = [
        (4, 4, 2, 2, 16),
        (4, 2, 2, 2, 16),
        (2, 2, 2, 2, 32),
        (1, 1, 2, 2, 32),
        (2, 4, 2, 2, 16),
        (2, 2, 2, 4, 16),
        (4, 2, 2, 4, 32),
    ];
    let fits = |&&(high, wide, down, across, depth): &&(u32, u32, u32, u32, u32)| {
        let (rows, columns) = (side * high * down, side * wide * across);
        // At most so much, whichever way the operands lie; the gaps included.
        let tile = |along: u32| 2 * (along * (depth + 8)).max(depth * (along + 8));
        let bytes = tile(rows) + tile(columns) + 4 * side * side * down * across;
        lanes * down * across <= device.max_invocations && bytes <= device.workgroup_memory
    };
    tiles.iter().filter(fits).map(tile).collect()
}

const TEMPLATE: &str = include_str!("../../../shaders/matmul.wgsl");
const COMPONENTS: [&str; 4] = ["x", "y", "z", "w"];

/// The whole WGSL text of `op` at `sizes`.
pub fn text(op: &MatMul, sizes: &Sizes, variant: Variant) -> String {
    let (a_image, b_image) = images(sizes, variant);
    let flags = [
        ("a_image", a_image),
        ("b_image", b_image),
        ("a_whole", sizes.a_columns.is_multiple_of(4)),
        ("b_whole", sizes.b_columns.is_multiple_of(4)),
        ("c_whole", sizes.n.is_multiple_of(4)),
        ("a_transposed", op.layout == Layout::TN),
        ("b_transposed", op.layout == Layout::NT),
        ("bias", op.bias),
        ("addend", op.addend),
        ("addend_image", op.addend && addend_image(sizes, variant)),
        ("accumulate", op.accumulate),
        ("rows", matches!(variant, Variant::Rows { .. })),
        ("shuffle", matches!(variant, Variant::Rows { shuffle: true, .. })),
        ("tiled", matches!(variant, Variant::Tiled { .. })),
        ("cooperative", matches!(variant, Variant::Cooperative { .. })),
        ("tiles", !matches!(variant, Variant::Rows { .. })),
        ("split", variant.split() > 1),
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
    unroll(TEMPLATE, &[], &flags, &texts)
}

/// Whether A and B, and whether C, are f16.
fn halves(sizes: &Sizes) -> (bool, bool) {
    (sizes.operands == DType::F16, sizes.result == DType::F16)
}

/// Whether there is f16 in a buffer.
pub fn buffers_half(sizes: &Sizes, variant: Variant) -> bool {
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
                ("loads", rows.loads()),
                ("products", rows.products()),
                ("stores", rows.stores()),
            ]
        }
        Variant::Tiled { high, wide, down, across, depth, split } => vec![
            (
                "tile",
                format!(
                    "const HIGH = {high}u;\nconst WIDE = {wide}u;\nconst DOWN = {down}u;\n\
                     const ACROSS = {across}u;\nconst DEPTH = {depth}u;\n"
                ),
            ),
            ("origins", String::new()),
            ("accumulators", accumulators(4 * high, wide)),
            ("loads", String::new()),
            ("products", tiled_products(high, wide)),
            ("stores", tiled_stores(op.bias && split == 1, high, wide, split > 1)),
        ],
        Variant::Cooperative { side, lanes, high, wide, down, across, depth } => vec![
            (
                "tile",
                format!(
                    "enable wgpu_cooperative_matrix;\nconst LANES = {lanes}u;\nconst SIDE = {side}u;\nconst HIGH = {high}u;\n\
                     const WIDE = {wide}u;\nconst DOWN = {down}u;\nconst ACROSS = {across}u;\n\
                     const DEPTH = {depth}u;\n"
                ),
            ),
            ("origins", String::new()),
            ("accumulators", fragments(side, high, wide)),
            ("loads", String::new()),
            ("products", fragment_products(op.layout, side, high, wide)),
            ("stores", fragment_stores(op.bias, high, wide)),
        ],
    }
}

/// Appends one formatted line.
macro_rules! line {
    ($out:expr, $($format:tt)*) => { writeln!($out, $($format)*).expect("a string takes all") };
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

/// The register kernel's parameters.
struct Rows<'a> {
    op: &'a MatMul,
    lanes: u32,
    rows: u32,
    vectors: u32,
    shuffle: bool,
    /// K is a multiple of four: the last pass of the loop needs no mask.
    whole_k: bool,
}

impl Rows<'_> {
    fn transposed_a(&self) -> bool {
        self.op.layout == Layout::TN
    }

    /// Where in A and B this lane reads, kept inside the matrices: rows and columns past the end of C repeat
    /// the last ones, and are not written.
    fn origins(&self) -> String {
        let mut out = String::new();
        match (self.transposed_a(), self.shuffle) {
            (false, true) => {
                for g in 0..self.groups() {
                    line!(out, "    let m{g} = min(row + {}u + lane, M - 1u);", g * self.lanes);
                }
            }
            (false, false) => {
                for r in 0..self.rows {
                    line!(out, "    let m{r} = min(row + {r}u, M - 1u);");
                }
            }
            // Lanes 4i .. 4i + 4 hold four steps of K of the i-th four rows.
            (true, true) => {
                line!(out, "    let step = lane % 4u;");
                for g in 0..self.groups() {
                    let first = g * self.lanes;
                    line!(out, "    let m{g} = min(row + {first}u + lane / 4u * 4u, (M - 1u) / 4u * 4u);");
                }
            }
            (true, false) => {
                for q in 0..self.rows / 4 {
                    line!(out, "    let m{q} = min(row + {}u, (M - 1u) / 4u * 4u);", 4 * q);
                }
            }
        }
        for j in 0..self.vectors {
            let first = 4 * j * self.lanes;
            if self.op.layout == Layout::NT {
                for e in 0..4 {
                    line!(out, "    let n{j}_{e} = min(column + {}u, N - 1u);", first + e);
                }
            } else {
                line!(out, "    let n{j} = min(column + {first}u, (N - 1u) / 4u * 4u);");
            }
        }
        out
    }

    /// Loads of one lane that together hold all rows.
    fn groups(&self) -> u32 {
        self.rows.div_ceil(self.lanes)
    }

    /// A row of an operand whose rows run along K.
    fn along_k(&self, operand: &str, step: &str, column: &str) -> String {
        if self.whole_k {
            format!("{operand}_at(k + {step}, {column})")
        } else {
            format!("{operand}_at(min(k + {step}, K - 1u), {column})")
        }
    }

    /// The same with zeros past K: enough in A, since what is read of B in their place is B's own last row.
    fn along_k_or_zero(&self, step: &str, column: &str) -> String {
        let load = self.along_k("a", step, column);
        if self.whole_k { load } else { format!("select(vec4(0.0), {load}, k + {step} < K)") }
    }

    fn loads(&self) -> String {
        let mut out = String::new();
        match (self.transposed_a(), self.shuffle) {
            (false, shuffle) => {
                for g in 0..if shuffle { self.groups() } else { self.rows } {
                    line!(out, "        let a{g} = a_at(m{g}, k);");
                }
            }
            (true, true) => {
                for g in 0..self.groups() {
                    line!(out, "        let a{g} = {};", self.along_k_or_zero("step", &format!("m{g}")));
                }
            }
            (true, false) => {
                for q in 0..self.rows / 4 {
                    for c in 0..4 {
                        let load = self.along_k_or_zero(&format!("{c}u"), &format!("m{q}"));
                        line!(out, "        let a{q}_{c} = {load};");
                    }
                }
            }
        }
        for j in 0..self.vectors {
            if self.op.layout == Layout::NT {
                for e in 0..4 {
                    line!(out, "        let t{j}_{e} = b_at(n{j}_{e}, k);");
                }
                for (c, x) in COMPONENTS.iter().enumerate() {
                    line!(
                        out,
                        "        let b{j}_{c} = vec4(t{j}_0.{x}, t{j}_1.{x}, t{j}_2.{x}, t{j}_3.{x});"
                    );
                }
            } else {
                for c in 0..4 {
                    line!(
                        out,
                        "        let b{j}_{c} = {};",
                        self.along_k("b", &format!("{c}u"), &format!("n{j}"))
                    );
                }
            }
        }
        out
    }

    /// Rows outermost: a row's accumulators leave the registers once.
    fn products(&self) -> String {
        let mut out = String::new();
        for r in 0..self.rows {
            let (quad, inner) = (r / 4, (r % 4) as usize);
            match (self.transposed_a(), self.shuffle) {
                (false, true) => {
                    let (group, lane) = (r / self.lanes, r % self.lanes);
                    line!(out, "        let v{r} = subgroupShuffle(a{group}, {lane}u);");
                }
                (false, false) => line!(out, "        let v{r} = a{r};"),
                (true, true) if inner == 0 => {
                    let group = r / self.lanes;
                    for c in 0..4 {
                        let lane = r % self.lanes + c;
                        line!(out, "        let q{quad}_{c} = subgroupShuffle(a{group}, {lane}u);");
                    }
                }
                (true, _) => {}
            }
            for j in 0..self.vectors {
                let value = |c: usize| match (self.transposed_a(), self.shuffle) {
                    (false, _) => format!("v{r}.{}", COMPONENTS[c]),
                    (true, true) => format!("q{quad}_{c}.{}", COMPONENTS[inner]),
                    (true, false) => format!("a{quad}_{c}.{}", COMPONENTS[inner]),
                };
                let terms: Vec<String> = (0..4).map(|c| format!("{} * b{j}_{c}", value(c))).collect();
                line!(out, "        s{r}_{j} += {};", terms.join(" + "));
            }
        }
        out
    }

    fn stores(&self) -> String {
        let mut out = String::new();
        for j in 0..self.vectors {
            line!(out, "    let column{j} = column + {}u;", 4 * j * self.lanes);
            if self.op.bias {
                line!(out, "    let bias{j} = bias_at(column{j});");
            }
        }
        for r in 0..self.rows {
            for j in 0..self.vectors {
                let bias = if self.op.bias { format!(" + bias{j}") } else { String::new() };
                line!(out, "    write(row + {r}u, column{j}, s{r}_{j}{bias});");
            }
        }
        out
    }
}

fn tiled_products(high: u32, wide: u32) -> String {
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

/// Finished elements, or, where K is split, their part of the sum.
fn tiled_stores(bias: bool, high: u32, wide: u32, split: bool) -> String {
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

fn fragments(side: u32, high: u32, wide: u32) -> String {
    let mut out = String::new();
    for h in 0..high {
        for w in 0..wide {
            line!(out, "    var s{h}_{w} = coop_mat{side}x{side}<f32, C>();");
        }
    }
    out
}

/// A fragment is loaded along its lines: rows where `coopLoadT` does it, columns where `coopLoad` does.
fn fragment_products(layout: Layout, side: u32, high: u32, wide: u32) -> String {
    let mut out = String::new();
    for h in 0..high {
        let (load, at) = match layout {
            Layout::TN => ("coopLoad", format!("deep * A_STRIDE + down + {h}u * SIDE")),
            _ => ("coopLoadT", format!("(down + {h}u * SIDE) * A_STRIDE + deep")),
        };
        line!(
            out,
            "            let a{h} = {load}<coop_mat{side}x{side}<f16, A>>(&fragments_a[{at}], A_STRIDE);"
        );
    }
    for w in 0..wide {
        let (load, at) = match layout {
            Layout::NT => ("coopLoad", format!("(across + {w}u * SIDE) * B_STRIDE + deep")),
            _ => ("coopLoadT", format!("deep * B_STRIDE + across + {w}u * SIDE")),
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

/// One fragment of each subgroup at a time, four elements a lane.
fn fragment_stores(bias: bool, high: u32, wide: u32) -> String {
    let bias = if bias { " + bias_at(to)" } else { "" };
    let mut out = String::new();
    line!(out, "    let home = subgroup * SIDE * SIDE;");
    for h in 0..high {
        for w in 0..wide {
            line!(out, "    workgroupBarrier();");
            line!(out, "    coopStoreT(s{h}_{w}, &finished[home], SIDE);");
            line!(out, "    workgroupBarrier();");
            line!(out, "    for (var v = lane; v < SIDE * SIDE / 4u; v += LANES) {{");
            line!(out, "        let first = home + 4u * v;");
            line!(out, "        let to = column + across + {w}u * SIDE + 4u * v % SIDE;");
            line!(
                out,
                "        let sum = vec4(finished[first], finished[first + 1u], finished[first + 2u], finished[first + 3u]);"
            );
            line!(out, "        write(row + down + {h}u * SIDE + 4u * v / SIDE, to, sum{bias});");
            line!(out, "    }}");
        }
    }
    out
}
