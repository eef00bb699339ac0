// C[M, N] = A · B, where A is stored as [M, K] or [K, M], and B as [K, N] or [N, K].
//
// The text that stands where `//# insert` does is made in src/ops/matmul/kernels.rs. Elements are read four at a time along the axis that is contiguous in memory. A and B
// are stored in f32 or f16, and so is C; sums are f32.
//# flags a_image b_image addend_image: read as images
//# flags a_whole b_whole c_whole: rows are whole vec4s
//# flags a_transposed b_transposed: A is stored as [K, M], B as [N, K]
//# flags a_turned b_turned: tiles are turned on their way
//# flags a_deep b_deep: lines of tiles run along K
//# flags bias addend accumulate: what is added
//# flags rows tiled cooperative: the variant
//# flags tiles: a variant with tiles
//# flags shuffle: of rows; A is handed round by shuffles
//# flags even: C is made of whole tiles
//# flags split: K is split over workgroups
//# flags sized: shows at which width of subgroups it ran
//# flags half: there is f16 in a buffer
//# texts operand result: how A and B, and how C are stored
//# texts texel: the format of an image of A or B
//# texts narrow1 narrow4: the functions that make C's elements of f32 and of vec4<f32>
//# texts tile: sizes of the variant
//# texts origins accumulators first puts next loads products stores: what is unrolled over a lane's elements
//# if half
//# import shared/narrow
//# end

//# if shuffle
enable subgroups;
//# end
//# if sized
enable subgroups;
//# end
override M: u32;
override N: u32;
override K: u32;
override A_ROWS: u32; // A as stored: [M, K], or [K, M]
override A_COLUMNS: u32;
override B_ROWS: u32; // B as stored: [K, N], or [N, K]
override B_COLUMNS: u32;

//# if a_image
@group(0) @binding(0) var a: texture_storage_2d<$texel, read>; // [A_ROWS, A_COLUMNS / 4]
//# else
//# if a_whole
@group(0) @binding(0) var<storage, read> a: array<vec4<$operand>>; // [A_ROWS, A_COLUMNS / 4]
//# else
@group(0) @binding(0) var<storage, read> a: array<$operand>; // [A_ROWS, A_COLUMNS]
//# end
//# end
//# if b_image
@group(0) @binding(1) var b: texture_storage_2d<$texel, read>; // [B_ROWS, B_COLUMNS / 4]
//# else
//# if b_whole
@group(0) @binding(1) var<storage, read> b: array<vec4<$operand>>; // [B_ROWS, B_COLUMNS / 4]
//# else
@group(0) @binding(1) var<storage, read> b: array<$operand>; // [B_ROWS, B_COLUMNS]
//# end
//# end
//# if c_whole
@group(0) @binding(2) var<storage, read_write> c: array<vec4<$result>>; // [M, N / 4]
//# else
@group(0) @binding(2) var<storage, read_write> c: array<$result>; // [M, N]
//# end
//# if bias
override BIAS_COLUMNS: u32; // the first columns of C; the others have no bias
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [BIAS_COLUMNS]
//# end
//# if addend
//# if addend_image
@group(0) @binding(4) var addend: texture_storage_2d<rgba32float, read>; // [M, N / 4]
//# else
//# if c_whole
@group(0) @binding(4) var<storage, read> addend: array<vec4<f32>>; // [M, N / 4]
//# else
@group(0) @binding(4) var<storage, read> addend: array<f32>; // [M, N]
//# end
//# end
//# end

// Elements (row, column .. column + 4) of A as stored, zero past the row's end; column is a multiple of four
// inside the row.
fn a_at(row: u32, column: u32) -> vec4<f32> {
//# if a_image
    return textureLoad(a, vec2(column / 4u, row));
//# else
//# if a_whole
    return vec4<f32>(a[(row * A_COLUMNS + column) / 4u]);
//# else
    let i = row * A_COLUMNS + column;
    let last = A_COLUMNS - 1u - column;
    // Past the end the last element is read instead and thrown away: memory there may hold anything.
    let v = vec4<f32>(vec4(a[i], a[i + min(1u, last)], a[i + min(2u, last)], a[i + min(3u, last)]));
    return select(vec4(0.0), v, vec4(0u, 1u, 2u, 3u) <= vec4(last));
//# end
//# end
}

// The same of B.
fn b_at(row: u32, column: u32) -> vec4<f32> {
//# if b_image
    return textureLoad(b, vec2(column / 4u, row));
//# else
//# if b_whole
    return vec4<f32>(b[(row * B_COLUMNS + column) / 4u]);
//# else
    let i = row * B_COLUMNS + column;
    let last = B_COLUMNS - 1u - column;
    let v = vec4<f32>(vec4(b[i], b[i + min(1u, last)], b[i + min(2u, last)], b[i + min(3u, last)]));
    return select(vec4(0.0), v, vec4(0u, 1u, 2u, 3u) <= vec4(last));
//# end
//# end
}

//# if bias
fn bias_at(column: u32) -> vec4<f32> {
    let at = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let i = min(at, vec4(BIAS_COLUMNS - 1u));
    let v = vec4(bias[i.x], bias[i.y], bias[i.z], bias[i.w]);
    return select(vec4(0.0), v, at < vec4(BIAS_COLUMNS));
}
//# end

//# if c_whole
//# else
fn write_one(i: u32, sum: f32) {
    var v = sum;
//# if addend
    v += addend[i];
//# end
//# if accumulate
    v += f32(c[i]);
//# end
    c[i] = ${narrow1}(v);
}
//# end

// Whether C has this row and this column. Where it is made of whole tiles, each of its workgroups' places is in it.
fn is_inside(row: u32, column: u32) -> bool {
//# if even
    return true;
//# else
    return row < M && column < N;
//# end
}

// Finishes and writes C[row, column .. column + 4].
fn write(row: u32, column: u32, sum: vec4<f32>) {
    if is_inside(row, column) {
//# if c_whole
        let i = (row * N + column) / 4u;
        var v = sum;
//# if addend
//# if addend_image
        v += textureLoad(addend, vec2(column / 4u, row));
//# else
        v += addend[i];
//# end
//# end
//# if accumulate
        v += vec4<f32>(c[i]);
//# end
        c[i] = ${narrow4}(v);
//# else
        let i = row * N + column;
        write_one(i, sum.x);
        if column + 1u < N {
            write_one(i + 1u, sum.y);
        }
        if column + 2u < N {
            write_one(i + 2u, sum.z);
        }
        if column + 3u < N {
            write_one(i + 3u, sum.w);
        }
//# end
    }
}

//# if tiles
// The same as `a_at`, and zero past the matrix' end; without a branch, behind which a compiler would wait for each load
// in turn.
fn a_or_zero(row: u32, column: u32) -> vec4<f32> {
//# if even
    return a_at(row, column);
//# else
    let v = a_at(min(row, A_ROWS - 1u), min(column, (A_COLUMNS - 1u) / 4u * 4u));
    return select(vec4(0.0), v, row < A_ROWS && column < A_COLUMNS);
//# end
}

fn b_or_zero(row: u32, column: u32) -> vec4<f32> {
//# if even
    return b_at(row, column);
//# else
    let v = b_at(min(row, B_ROWS - 1u), min(column, (B_COLUMNS - 1u) / 4u * 4u));
    return select(vec4(0.0), v, row < B_ROWS && column < B_COLUMNS);
//# end
}
//# end

//# if rows
// A workgroup of LANES invocations computes ROWS rows of 4 * LANES * VECTORS columns in registers alone: a lane
// owns VECTORS vectors of four columns, LANES vectors apart, of every row. B comes along the lanes; A comes by
// lane and is handed round by shuffles where there are subgroups (the workgroup is then one subgroup), or is
// read by every lane.
override LANES: u32;
//# insert tile

@compute @workgroup_size(LANES)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
//# if shuffle
    @builtin(subgroup_invocation_id) lane: u32,
//# else
    @builtin(local_invocation_index) lane: u32,
//# end
) {
    let row = group.x * ROWS;
    let column = (group.y * LANES * VECTORS + lane) * 4u;
//# insert origins
//# insert accumulators
    for (var k = 0u; k < K; k += 4u) {
//# insert loads
//# insert products
    }
//# insert stores
}
//# end

//# if tiled
// A workgroup computes ROWS x COLUMNS of C, DEPTH steps of K at a time, from tiles in workgroup memory that both
// run along K; an invocation owns 4 * HIGH rows and 4 * WIDE columns, in blocks of 4 x 4 that lie ACROSS blocks
// apart. Tiles are filled in blocks of 4 x 4, so that every write is a whole vector; the next tiles' blocks are on their way
// into registers while these are multiplied.
//# insert tile
const THREADS = DOWN * ACROSS;
const ROWS = 4u * HIGH * DOWN;
const COLUMNS = 4u * WIDE * ACROSS;
const A_BLOCKS = ROWS / 4u * (DEPTH / 4u);
const B_BLOCKS = COLUMNS / 4u * (DEPTH / 4u);
const BLOCKS = A_BLOCKS + B_BLOCKS;

var<workgroup> tile_a: array<vec4<f32>, DEPTH * ROWS / 4u>; // [DEPTH, ROWS / 4]
var<workgroup> tile_b: array<vec4<f32>, DEPTH * COLUMNS / 4u>; // [DEPTH, COLUMNS / 4]

//# if split
override PART: u32; // steps of K of one workgroup
override WIDTH: u32; // vectors of a row of C
override SPLIT: u32; // parts of K
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>; // [SPLIT, M, WIDTH]

fn keep(part: u32, row: u32, column: u32, sum: vec4<f32>) {
    if is_inside(row, column) {
        parts[(part * M + row) * WIDTH + column / 4u] = sum;
    }
}

const TOTAL_LANES = 64u;

// C from the sums over the parts of K, a vector a lane.
@compute @workgroup_size(TOTAL_LANES)
fn total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = (group.x + group.y * groups.x) * TOTAL_LANES + lane;
    if at >= M * WIDTH {
        return;
    }
    var sum = vec4<f32>();
    for (var part = 0u; part < SPLIT; part++) {
        sum += parts[part * M * WIDTH + at];
    }
    let column = at % WIDTH * 4u;
//# if bias
    sum += bias_at(column);
//# end
    write(at / WIDTH, column, sum);
}
//# end

// A block of the tiles that begin at this row, this column and step k: first those of A, then those of B. A column of
// the result is a step of K.
fn fetched(block: u32, row: u32, column: u32, k: u32) -> mat4x4<f32> {
    if block < A_BLOCKS {
//# if a_transposed
        let m = row + 4u * (block % (ROWS / 4u));
        let deep = k + block / (ROWS / 4u) * 4u;
        return mat4x4(
            a_or_zero(deep, m),
            a_or_zero(deep + 1u, m),
            a_or_zero(deep + 2u, m),
            a_or_zero(deep + 3u, m),
        );
//# else
        let m = row + 4u * (block / (DEPTH / 4u));
        let deep = k + block % (DEPTH / 4u) * 4u;
        return transpose(mat4x4(
            a_or_zero(m, deep),
            a_or_zero(m + 1u, deep),
            a_or_zero(m + 2u, deep),
            a_or_zero(m + 3u, deep),
        ));
//# end
    }
    let rest = block - A_BLOCKS;
//# if b_transposed
    let n = column + 4u * (rest / (DEPTH / 4u));
    let deep = k + rest % (DEPTH / 4u) * 4u;
    return transpose(mat4x4(
        b_or_zero(n, deep),
        b_or_zero(n + 1u, deep),
        b_or_zero(n + 2u, deep),
        b_or_zero(n + 3u, deep),
    ));
//# else
    let n = column + 4u * (rest % (COLUMNS / 4u));
    let deep = k + rest / (COLUMNS / 4u) * 4u;
    return mat4x4(
        b_or_zero(deep, n),
        b_or_zero(deep + 1u, n),
        b_or_zero(deep + 2u, n),
        b_or_zero(deep + 3u, n),
    );
//# end
}

// Puts a block where the products read it.
fn put(block: u32, v: mat4x4<f32>) {
    if block < A_BLOCKS {
//# if a_transposed
        let at = block / (ROWS / 4u) * ROWS + block % (ROWS / 4u);
//# else
        let at = block % (DEPTH / 4u) * ROWS + block / (DEPTH / 4u);
//# end
        tile_a[at] = v[0];
        tile_a[at + ROWS / 4u] = v[1];
        tile_a[at + 2u * (ROWS / 4u)] = v[2];
        tile_a[at + 3u * (ROWS / 4u)] = v[3];
    } else {
        let rest = block - A_BLOCKS;
//# if b_transposed
        let at = rest % (DEPTH / 4u) * COLUMNS + rest / (DEPTH / 4u);
//# else
        let at = rest / (COLUMNS / 4u) * COLUMNS + rest % (COLUMNS / 4u);
//# end
        tile_b[at] = v[0];
        tile_b[at + COLUMNS / 4u] = v[1];
        tile_b[at + 2u * (COLUMNS / 4u)] = v[2];
        tile_b[at + 3u * (COLUMNS / 4u)] = v[3];
    }
}

@compute @workgroup_size(THREADS)
fn matmul(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let row = group.x * ROWS;
    let column = group.y * COLUMNS;
    let down = thread / ACROSS;
    let across = thread % ACROSS;
//# if split
    let begin = group.z * PART;
    let end = min(K, begin + PART);
//# else
    let begin = 0u;
    let end = K;
//# end
//# insert accumulators
//# insert first
    for (var k = begin; k < end; k += DEPTH) {
        workgroupBarrier();
//# insert puts
        workgroupBarrier();
        if k + DEPTH < end {
//# insert next
        }
        for (var deep = 0u; deep < DEPTH; deep++) {
//# insert products
        }
    }
//# insert stores
}
//# end

//# if cooperative
// A workgroup computes ROWS x COLUMNS of C, DEPTH steps of K at a time, on the device's matrix units, which multiply
// fragments of SIDE x SIDE in f16 and add in f32; a subgroup owns HIGH x WIDE of them. Tiles lie in workgroup memory
// line after line, zero past the matrices' ends, and with gaps, so that the lines of a fragment lie in different banks.
// Lines run as they do in A's and B's own memory; or a tile is turned on its way, in blocks of 4 x 4, so that its lines
// run along K: some devices read other fragments element by element. The next tiles' parts (vectors, or blocks) are on
// their way into registers while these are multiplied. Fragments show no elements: finished ones go through workgroup
// memory.
//# insert tile
const THREADS = LANES * DOWN * ACROSS;
const ROWS = SIDE * HIGH * DOWN;
const COLUMNS = SIDE * WIDE * ACROSS;
const GAP = 8u;
//# if a_deep
const A_LINES = ROWS;
const A_LINE = DEPTH;
//# else
const A_LINES = DEPTH;
const A_LINE = ROWS;
//# end
//# if b_deep
const B_LINES = COLUMNS;
const B_LINE = DEPTH;
//# else
const B_LINES = DEPTH;
const B_LINE = COLUMNS;
//# end
const A_STRIDE = A_LINE + GAP;
const B_STRIDE = B_LINE + GAP;

var<workgroup> fragments_a: array<f16, A_LINES * A_STRIDE>;
var<workgroup> fragments_b: array<f16, B_LINES * B_STRIDE>;
var<workgroup> finished: array<f32, DOWN * ACROSS * SIDE * SIDE>;

fn put_in_a(first: u32, value: vec4<f16>) {
    fragments_a[first] = value.x;
    fragments_a[first + 1u] = value.y;
    fragments_a[first + 2u] = value.z;
    fragments_a[first + 3u] = value.w;
}

fn put_in_b(first: u32, value: vec4<f16>) {
    fragments_b[first] = value.x;
    fragments_b[first + 1u] = value.y;
    fragments_b[first + 2u] = value.z;
    fragments_b[first + 3u] = value.w;
}

// Part v of the tile of A that begins at this row and step k, and where it belongs.
//# if a_turned
const A_PARTS = A_LINES / 4u * (A_LINE / 4u);

fn a_fetched(v: u32, row: u32, k: u32) -> mat4x4<f16> {
    let m = row + v % (A_LINES / 4u) * 4u;
    let deep = k + v / (A_LINES / 4u) * 4u;
    return transpose(mat4x4<f16>(
        vec4<f16>(a_or_zero(deep, m)),
        vec4<f16>(a_or_zero(deep + 1u, m)),
        vec4<f16>(a_or_zero(deep + 2u, m)),
        vec4<f16>(a_or_zero(deep + 3u, m)),
    ));
}

fn put_a(v: u32, part: mat4x4<f16>) {
    let first = v % (A_LINES / 4u) * 4u * A_STRIDE + v / (A_LINES / 4u) * 4u;
    put_in_a(first, part[0]);
    put_in_a(first + A_STRIDE, part[1]);
    put_in_a(first + 2u * A_STRIDE, part[2]);
    put_in_a(first + 3u * A_STRIDE, part[3]);
}
//# else
const A_PARTS = A_LINES * A_LINE / 4u;

fn a_fetched(v: u32, row: u32, k: u32) -> vec4<f16> {
    let line = v / (A_LINE / 4u);
    let at = v % (A_LINE / 4u) * 4u;
//# if a_transposed
    return vec4<f16>(a_or_zero(k + line, row + at));
//# else
    return vec4<f16>(a_or_zero(row + line, k + at));
//# end
}

fn put_a(v: u32, part: vec4<f16>) {
    put_in_a(v / (A_LINE / 4u) * A_STRIDE + v % (A_LINE / 4u) * 4u, part);
}
//# end

//# if b_turned
const B_PARTS = B_LINES / 4u * (B_LINE / 4u);

fn b_fetched(v: u32, column: u32, k: u32) -> mat4x4<f16> {
    let n = column + v % (B_LINES / 4u) * 4u;
    let deep = k + v / (B_LINES / 4u) * 4u;
    return transpose(mat4x4<f16>(
        vec4<f16>(b_or_zero(deep, n)),
        vec4<f16>(b_or_zero(deep + 1u, n)),
        vec4<f16>(b_or_zero(deep + 2u, n)),
        vec4<f16>(b_or_zero(deep + 3u, n)),
    ));
}

fn put_b(v: u32, part: mat4x4<f16>) {
    let first = v % (B_LINES / 4u) * 4u * B_STRIDE + v / (B_LINES / 4u) * 4u;
    put_in_b(first, part[0]);
    put_in_b(first + B_STRIDE, part[1]);
    put_in_b(first + 2u * B_STRIDE, part[2]);
    put_in_b(first + 3u * B_STRIDE, part[3]);
}
//# else
const B_PARTS = B_LINES * B_LINE / 4u;

fn b_fetched(v: u32, column: u32, k: u32) -> vec4<f16> {
    let line = v / (B_LINE / 4u);
    let at = v % (B_LINE / 4u) * 4u;
//# if b_transposed
    return vec4<f16>(b_or_zero(column + line, k + at));
//# else
    return vec4<f16>(b_or_zero(k + line, column + at));
//# end
}

fn put_b(v: u32, part: vec4<f16>) {
    put_in_b(v / (B_LINE / 4u) * B_STRIDE + v % (B_LINE / 4u) * 4u, part);
}
//# end

//# if sized
// At how many lanes of a subgroup each invocation ran: before this is relied upon a device is asked.
@group(0) @binding(6) var<storage, read_write> widths: array<u32>; // [workgroups, THREADS]
//# end

@compute @workgroup_size(THREADS)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
//# if sized
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_size) width: u32,
//# end
    @builtin(local_invocation_index) thread: u32,
) {
//# if sized
    widths[(group.x + group.y * groups.x) * THREADS + thread] = width;
//# end
    let row = group.x * ROWS;
    let column = group.y * COLUMNS;
    // Whole subgroups, in order: the device's are of one size, and the workgroup's a multiple of it.
    let subgroup = thread / LANES;
    let lane = thread % LANES;
    let down = subgroup / ACROSS * HIGH * SIDE;
    let across = subgroup % ACROSS * WIDE * SIDE;
//# insert accumulators
//# insert first
    for (var k = 0u; k < K; k += DEPTH) {
        workgroupBarrier();
//# insert puts
        workgroupBarrier();
        if k + DEPTH < K {
//# insert next
        }
        for (var deep = 0u; deep < DEPTH; deep += SIDE) {
//# insert products
        }
    }
//# insert stores
}
//# end
