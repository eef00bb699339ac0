// The most multiply-adds that a device can do: independent chains in registers, and one result per lane in memory.
//# flags half: in f16
//# numbers chains unrolled

//# if half
enable f16;
alias Number = f16;
//# else
alias Number = f32;
//# end

override TURNS: u32;
const LANES = 64u;

@group(0) @binding(0) var<storage, read_write> results: array<f32>; // [invocations]

@compute @workgroup_size(LANES)
fn arithmetic(@builtin(global_invocation_id) id: vec3<u32>) {
    // The compiler cannot know these numbers, and the chain contracts, so values stay finite and near 1 in either
    // precision.
    let factor = vec4(Number(0.5) + Number(f32(id.x % 7u) * 0.01));
    let term = vec4(Number(0.5));
//# for c in chains
    var x$c = vec4(Number(f32(id.x % (3u + ${c}u)) * 0.1));
//# end
    for (var turn = 0u; turn < TURNS; turn++) {
//# for repeat in unrolled
//# for c in chains
        x$c = fma(x$c, factor, term);
//# end
//# end
    }
    var sum = vec4(Number(0.0));
//# for c in chains
    sum += x$c;
//# end
    results[id.x] = f32(sum.x + sum.y + sum.z + sum.w);
}
