// Packed rows with the queries and keys of one tensor and the values of another, and their gradients apart.
//# flags half: tensors are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# import shared/narrow

override VECTORS: u32; // vec4s of a tensor
override WIDTH: u32; // vec4s of a row
override TURNED: u32; // vec4s of queries and keys in it

@group(0) @binding(0) var<storage, read> a: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(1) var<storage, read> b: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(3) var<storage, read> dy: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(4) var<storage, read_write> da: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(5) var<storage, read_write> db: array<vec4<$element>>; // [R, WIDTH]

//# import shared/walk

@compute @workgroup_size(LANES)
fn splice(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            if i % WIDTH < TURNED {
                y[i] = a[i];
            } else {
                y[i] = b[i];
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn cut(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            if i % WIDTH < TURNED {
                da[i] = dy[i];
                db[i] = vec4<$element>();
            } else {
                da[i] = vec4<$element>();
                db[i] = dy[i];
            }
        }
    }
}
