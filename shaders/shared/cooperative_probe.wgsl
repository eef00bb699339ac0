// Asks the driver whether its matrix units compute what they should: one product of two fragments of whole numbers.
enable f16;
enable wgpu_cooperative_matrix;

override LANES: u32; // of a subgroup

@group(0) @binding(0) var<storage, read_write> product: array<f32>; // [$side, $side]

var<workgroup> left: array<f16, ${side}u * ${side}u>; // row after row
var<workgroup> right: array<f16, ${side}u * ${side}u>; // column after column

@compute @workgroup_size(LANES)
fn probe(@builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < ${side}u * ${side}u; i += LANES) {
        left[i] = f16(i % 11u);
        right[i] = f16(i % 7u);
    }
    workgroupBarrier();
    let a = coopLoadT<coop_mat${side}x${side}<f16, A>>(&left[0], ${side}u);
    let b = coopLoad<coop_mat${side}x${side}<f16, B>>(&right[0], ${side}u);
    let sum = coopMultiplyAdd(a, b, coop_mat${side}x${side}<f32, C>());
    coopStoreT(sum, &product[0], ${side}u);
}
