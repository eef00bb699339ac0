// Asks the driver how many lanes a subgroup really has.

enable subgroups;

@group(0) @binding(0) var<storage, read_write> lanes: array<u32>; // [128], one per invocation

@compute @workgroup_size(128)
fn probe(@builtin(local_invocation_index) lane: u32, @builtin(subgroup_size) size: u32) {
    lanes[lane] = size;
}
