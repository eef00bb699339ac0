// c = a + b, four elements at a time. Buffers are padded to whole vectors, so the last vector needs no mask.

override VECTORS: u32; // vec4 elements in each buffer

@group(0) @binding(0) var<storage, read> a: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(1) var<storage, read> b: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(2) var<storage, read_write> c: array<vec4<f32>>; // [VECTORS]

const LANES = 64u;
const EACH = 4u; // vectors per lane, LANES apart, so that neighbouring lanes read neighbouring vectors

@compute @workgroup_size(LANES)
fn add(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            c[i] = a[i] + b[i];
        }
    }
}

// c += a
@compute @workgroup_size(LANES)
fn add_into(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            c[i] += a[i];
        }
    }
}
