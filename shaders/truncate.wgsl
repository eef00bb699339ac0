// y = x where |x| w >= epsilon, else 0, with a weight w for each column. Four elements at a time.
//# flags images: x is read as an image
//# numbers lanes each: as in shared/walk.wgsl

override VECTORS: u32; // vec4 elements in x
override COLUMNS: u32; // elements in a row of x

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
@group(0) @binding(1) var<storage, read> weights: array<f32>; // [COLUMNS]
@group(0) @binding(2) var<storage, read> epsilon: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<f32>>; // [VECTORS]

//# import shared/operand_at with name = x

//# import shared/walk

@compute @workgroup_size(LANES)
fn truncate_units(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let bound = vec4(epsilon[0]);
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let column = (vec4(4u * i) + vec4(0u, 1u, 2u, 3u)) % vec4(COLUMNS);
            let w = vec4(weights[column.x], weights[column.y], weights[column.z], weights[column.w]);
            let x = x_at(i);
            // NaN is not below the bound, and stays.
            y[i] = select(x, vec4(0.0), abs(x) * w < bound);
        }
    }
}
