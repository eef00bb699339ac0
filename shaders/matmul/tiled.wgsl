// A workgroup computes ROWS x COLUMNS of C, DEPTH steps of K at a time, from tiles in workgroup memory that both
// run along K; an invocation owns 4 * HIGH rows and 4 * WIDE columns, in blocks of 4 x 4 that lie ACROSS blocks
// apart. Tiles are filled in blocks of 4 x 4, so that every write is a whole vector; the next tiles' blocks are on their way
// into registers while these are multiplied.
//# flags a_transposed b_transposed split bias: as in matmul.wgsl
//# numbers lanes: of a workgroup that adds parts of K up
//# texts tile accumulators first puts next products stores: as in matmul.wgsl
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
override PART: u32; // steps of K per workgroup
override WIDTH: u32; // vectors of a row of C
override SPLIT: u32; // parts of K
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>; // [SPLIT, M, WIDTH]

fn keep(part: u32, row: u32, column: u32, sum: vec4<f32>) {
    if is_inside(row, column) {
        parts[(part * M + row) * WIDTH + column / 4u] = sum;
    }
}

const TOTAL_LANES = ${lanes}u;

// C from the sums over the parts of K, one vector per lane.
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

// Writes a block to where the products read it.
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
