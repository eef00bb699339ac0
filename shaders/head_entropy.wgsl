// mean += WEIGHT * (mean of a head's rows; NaN where one of them is not finite); nonfinite += the number of rows that are
// not. One workgroup per head. Each lane adds up its rows in order, then the first lane adds up the lanes in order.

override BATCH: u32; // B
override HEADS: u32; // H
override SEQUENCE: u32; // T
override LANES: u32;
override WEIGHT: f32;

@group(0) @binding(0) var<storage, read> entropy: array<f32>; // [B, H, T]
@group(0) @binding(1) var<storage, read_write> mean: array<f32>; // [H]
@group(0) @binding(2) var<storage, read_write> nonfinite: array<f32>; // [H]

var<workgroup> sums: array<f32, LANES>;
var<workgroup> counts: array<u32, LANES>; // finite rows

@compute @workgroup_size(LANES)
fn head_entropy(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    let rows = BATCH * SEQUENCE;
    var sum = 0.0;
    var count = 0u;
    for (var row = lane; row < rows; row += LANES) {
        let nats = entropy[(row / SEQUENCE * HEADS + head) * SEQUENCE + row % SEQUENCE];
        // Tested by its bits: drivers differ in comparisons with NaN.
        let finite = (bitcast<u32>(nats) & 0x7fffffffu) < 0x7f800000u;
        sum += select(0.0, nats, finite);
        count += select(0u, 1u, finite);
    }
    sums[lane] = sum;
    counts[lane] = count;
    workgroupBarrier();
    if lane == 0u {
        for (var other = 1u; other < LANES; other++) {
            sum += sums[other];
            count += counts[other];
        }
        // WGSL has no constant for NaN, so it is made from its bits.
        let nan = bitcast<f32>(0x7fc00000u | count);
        mean[head] += select(nan, WEIGHT * (sum / f32(rows)), count == rows);
        nonfinite[head] += f32(rows - count);
    }
}
