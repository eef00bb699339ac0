// The most multiply-adds that a device's matrix units can do: independent chains of fragments in registers.
//# numbers side: of a fragment
//# numbers lanes: of a subgroup
//# numbers chains
enable f16;
enable wgpu_cooperative_matrix;

override TURNS: u32;
const LANES = ${lanes}u; // of a subgroup
const SUBGROUPS = 4u;

@group(0) @binding(0) var<storage, read_write> results: array<f32>; // [workgroups, SUBGROUPS, $side, $side]

var<workgroup> operand: array<f16, ${side}u * ${side}u>;

@compute @workgroup_size(LANES * SUBGROUPS)
fn cooperative(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    for (var i = lane; i < ${side}u * ${side}u; i += LANES * SUBGROUPS) {
        operand[i] = f16(f32(i % 5u) * 0.01);
    }
    workgroupBarrier();
    let a = coopLoadT<coop_mat${side}x${side}<f16, A>>(&operand[0], ${side}u);
    let b = coopLoadT<coop_mat${side}x${side}<f16, B>>(&operand[0], ${side}u);
//# for c in chains
    var x$c = coop_mat${side}x${side}<f32, C>();
//# end
    for (var turn = 0u; turn < TURNS; turn++) {
//# for c in chains
        x$c = coopMultiplyAdd(a, b, x$c);
//# end
    }
    var sum = coop_mat${side}x${side}<f32, C>();
//# for c in chains
    sum = sum + x$c;
//# end
    let home = (group.x * SUBGROUPS + lane / LANES) * ${side}u * ${side}u;
    coopStoreT(sum, &results[home], ${side}u);
}
