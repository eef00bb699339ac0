// The columns of two tensors side by side, and apart again.
//# flags half: tensors are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# import shared/narrow

override VECTORS: u32; // vec4s of y
override LEFT: u32; // vec4s of a row of a
override RIGHT: u32; // vec4s of a row of b

@group(0) @binding(0) var<storage, read> a: array<vec4<$element>>; // [R, LEFT]
@group(0) @binding(1) var<storage, read> b: array<vec4<$element>>; // [R, RIGHT]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [R, LEFT + RIGHT]
@group(0) @binding(3) var<storage, read> dy: array<vec4<$element>>; // the same
@group(0) @binding(4) var<storage, read_write> da: array<vec4<$element>>; // [R, LEFT]
@group(0) @binding(5) var<storage, read_write> db: array<vec4<$element>>; // [R, RIGHT]

//# import shared/walk

@compute @workgroup_size(LANES)
fn beside(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let row = i / (LEFT + RIGHT);
            let column = i - row * (LEFT + RIGHT);
            if column < LEFT {
                y[i] = a[row * LEFT + column];
            } else {
                y[i] = b[row * RIGHT + (column - LEFT)];
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn apart(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let row = i / (LEFT + RIGHT);
            let column = i - row * (LEFT + RIGHT);
            if column < LEFT {
                da[row * LEFT + column] = dy[i];
            } else {
                db[row * RIGHT + (column - LEFT)] = dy[i];
            }
        }
    }
}
