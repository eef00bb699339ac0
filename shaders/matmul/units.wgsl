// A workgroup computes ROWS x COLUMNS of C, DEPTH steps of K at a time, on the device's matrix units, which multiply
// fragments of SIDE x SIDE in f16 and add in f32; a subgroup owns HIGH x WIDE of them. Tiles lie in workgroup memory line
// by line, zero past the matrices' ends, with gaps so that the lines of a fragment lie in different banks. Lines run as in
// A's and B's own memory, or a tile is turned on its way, in blocks of 4 x 4, so that its lines run along K: some devices
// read other fragments element by element. The next tiles' parts (vectors, or blocks) are on their way into registers while
// these are multiplied. The elements of a fragment cannot be named, so finished fragments go through workgroup memory.
//# flags a_turned b_turned a_deep b_deep sized: as in matmul.wgsl
//# texts tile accumulators first puts next products stores: as in matmul.wgsl
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

//# import matmul/units/put with x = a
//# import matmul/units/put with x = b
//# import matmul/units/tile with x = a, X = A, from = row, m = m, turned = a_turned, deep = a_deep
//# import matmul/units/tile with x = b, X = B, from = column, m = n, turned = b_turned, deep = b_deep

//# if sized
// The subgroup size with which each invocation ran: the program asks the device before it relies on a size.
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
    // Whole subgroups, in order: the device has one subgroup size, and the workgroup's size is a multiple of it.
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
