// A workgroup of LANES invocations computes ROWS rows of 4 * LANES * VECTORS columns in registers alone: a lane owns
// VECTORS vectors of four columns, LANES vectors apart, of every row. B is read along the lanes. If there are subgroups
// (the workgroup is then one subgroup), each lane reads a part of A and hands it round by shuffles; otherwise every lane
// reads all of it.
//# flags shuffle: A is handed round by shuffles
//# texts tile origins accumulators loads products stores: as in matmul.wgsl
override LANES: u32;
//# insert tile

@compute @workgroup_size(LANES)
fn matmul(
    @builtin(workgroup_id) group: vec3<u32>,
//# if shuffle
    @builtin(subgroup_invocation_id) lane: u32,
//# else
    @builtin(local_invocation_index) lane: u32,
//# end
) {
    let row = group.x * ROWS;
    let column = (group.y * LANES * VECTORS + lane) * 4u;
//# insert origins
//# insert accumulators
    for (var k = 0u; k < K; k += 4u) {
//# insert loads
//# insert products
    }
//# insert stores
}
