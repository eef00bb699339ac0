// out[i] = table[indices[i]], row by row; zeros for an index past the table. A dispatch binds rows FIRST .. FIRST + COUNT
// of the table, because a table may exceed one binding, and writes only the rows of that window. The dispatch of the first
// window also writes the zeros.
//# numbers lanes: of a workgroup
//# numbers vector: elements of a Vector, 4 or 1
//# import shared/vector$vector

override ROWS: u32; // rows of out
override WIDTH: u32; // vectors of a row
override TABLE: u32; // rows of the whole table
override FIRST: u32; // first row of the table in this window
override COUNT: u32; // rows of the table in this window

@group(0) @binding(0) var<storage, read> indices: array<u32>; // [ROWS]
@group(0) @binding(1) var<storage, read> table: array<Vector>; // [COUNT, WIDTH]
@group(0) @binding(2) var<storage, read_write> out: array<Vector>; // [ROWS, WIDTH]

const LANES = ${lanes}u;

@compute @workgroup_size(LANES)
fn gather(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * LANES + lane;
    if i >= ROWS * WIDTH {
        return;
    }
    let index = indices[i / WIDTH];
    // Below FIRST the difference wraps to a large number.
    let row = index - FIRST;
    if row < COUNT {
        out[i] = table[row * WIDTH + i % WIDTH];
    } else if FIRST == 0u && index >= TABLE {
        out[i] = Vector(0.0);
    }
}
