// Memory to memory, 16 bytes at a time.

override VECTORS: u32; // of the whole buffer
override EACH: u32; // vectors per invocation, a workgroup's width apart
const LANES = 64u;

@group(0) @binding(0) var<storage, read> source: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(1) var<storage, read_write> copied: array<vec4<f32>>; // [VECTORS]

@compute @workgroup_size(LANES)
fn copy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var i = 0u; i < EACH; i++) {
        let at = first + i * LANES;
        if at < VECTORS {
            copied[at] = source[at];
        }
    }
}
