// y = x in f16, four elements at a time. Buffers are padded to whole vectors, so the last vector needs no mask.
//# flags images: x is read as an image
//# numbers lanes each: as in shared/walk.wgsl
//# import shared/narrow with half = true

override VECTORS: u32; // vec4 elements in each buffer

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<f16>>; // [VECTORS]

//# import shared/walk

@compute @workgroup_size(LANES)
fn narrow(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            //# if images
            let row = i / TEXELS;
            y[i] = narrow4(textureLoad(x, vec2(i - row * TEXELS, row)));
            //# else
            y[i] = narrow4(x[i]);
            //# end
        }
    }
}
