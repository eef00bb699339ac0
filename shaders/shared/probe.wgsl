// Asks the driver how many lanes a subgroup has in a workgroup of WIDTH invocations.
//# flags heavy: as the kernels that shuffle are, for which a driver may choose another width: the workgroup is one subgroup
//# numbers sums: what a heavy lane holds in registers
//# numbers lanes: of a heavy workgroup

enable subgroups;

override WIDTH: u32;

@group(0) @binding(0) var<storage, read_write> seen: array<vec4<u32>>; // [WIDTH]: lanes, this one, their sum of ones, checksum

//# if heavy
override TURNS: u32; // a number that the compiler does not know
//# end

@compute @workgroup_size(WIDTH)
fn probe(
    @builtin(local_invocation_index) at: u32,
    @builtin(subgroup_size) size: u32,
    @builtin(subgroup_invocation_id) lane: u32,
) {
    var total = 0u;
//# if heavy
    var x = at * 2654435761u + 1u;
//# for j in sums
    var s_$j = vec4<u32>();
//# end
    for (var turn = 0u; turn < TURNS; turn++) {
//# for j in sums
        s_$j += vec4(subgroupShuffle(x, ${j}u % ${lanes}u)) * (vec4(x) + vec4(0u, 1u, 2u, 3u));
//# end
        x = x * 1664525u + 1013904223u;
    }
//# for j in sums
    total = total * 31u + s_$j.x + 3u * s_$j.y + 5u * s_$j.z + 7u * s_$j.w;
//# end
//# end
    seen[at] = vec4(size, lane, subgroupAdd(1u), total);
}
