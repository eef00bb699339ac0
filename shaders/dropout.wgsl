// y = x / (1 - p) where the element's random word is at least p 2^32, else 0.
//# numbers lanes each: as in shared/walk.wgsl
//# import shared/random

override VECTORS: u32; // vec4 elements in x
override THRESHOLD: u32; // p 2^32
override SCALE: f32; // 1 / (1 - p)

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(1) var<storage, read> key: array<u32>; // [4]: seed low, seed high, counter, site
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [VECTORS]

//# import shared/walk

@compute @workgroup_size(LANES)
fn dropout(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let stream = mix(vec4(key[0], key[1], key[2], key[3]));
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            // Selected, not multiplied by 0 or 1: a dropped infinity is 0.
            y[i] = select(vec4(0.0), x[i] * SCALE, bits(stream, i) >= vec4(THRESHOLD));
        }
    }
}
