// A learned logit of each head in the denominator of attention's softmax: z = s * o with s = 1/(1 + exp(sink - lse)), in place,
// and its adjoint: the gradient times s, and d_sink (+)= -sum of (1 - s) * (dz . z).
//# flags half: z and its gradients are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# import shared/narrow

override VECTORS: u32; // vec4s of z
override HEADS: u32; // H
override SEQUENCE: u32; // T
override COLUMNS: u32; // vec4s of a head's row
override ROWS: u32;
override ROWS_EACH: u32; // rows of a block
override BLOCKS: u32;
override ACCUMULATE: bool; // d_sinks is added to

@group(0) @binding(0) var<storage, read> lse: array<f32>; // [B, H, T]
@group(0) @binding(1) var<storage, read> sinks: array<f32>; // [H]
@group(0) @binding(2) var<storage, read_write> z: array<vec4<$element>>; // [ROWS, HEADS * COLUMNS]
@group(0) @binding(3) var<storage, read> known_z: array<vec4<$element>>; // the same
@group(0) @binding(4) var<storage, read> dz: array<vec4<$element>>; // the same
@group(0) @binding(5) var<storage, read_write> before: array<vec4<$element>>; // the gradient of what z was before
@group(0) @binding(6) var<storage, read_write> parts: array<f32>; // [BLOCKS, HEADS]
@group(0) @binding(7) var<storage, read_write> d_sinks: array<f32>; // [H]

// How far a row's lse in a head lies above the head's sink.
fn above(row: u32, head: u32) -> f32 {
    return lse[(row / SEQUENCE * HEADS + head) * SEQUENCE + row % SEQUENCE] - sinks[head];
}

// Of exp(-|x|), which cannot overflow.
fn share(x: f32) -> f32 {
    let e = exp(-abs(x));
    let s = 1.0 / (1.0 + e);
    return select(s, e * s, x < 0.0);
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn attention_sink(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let piece = i / COLUMNS;
            z[i] = ${narrow}(vec4<f32>(z[i]) * share(above(piece / HEADS, piece % HEADS)));
        }
    }
}

@compute @workgroup_size(LANES)
fn scaled_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let piece = i / COLUMNS;
            before[i] = ${narrow}(vec4<f32>(dz[i]) * share(above(piece / HEADS, piece % HEADS)));
        }
    }
}

// A lane takes one head of a block of rows.
@compute @workgroup_size(LANES)
fn sink_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * HEADS {
        return;
    }
    let head = place % HEADS;
    let start = place / HEADS * ROWS_EACH;
    var sum = 0.0;
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        var along = vec4(0.0);
        for (var c = 0u; c < COLUMNS; c++) {
            let i = (row * HEADS + head) * COLUMNS + c;
            along += vec4<f32>(known_z[i]) * vec4<f32>(dz[i]);
        }
        sum -= share(-above(row, head)) * ((along.x + along.y) + (along.z + along.w));
    }
    parts[place] = sum;
}

@compute @workgroup_size(LANES)
fn sink_total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x * LANES + lane;
    if head >= HEADS {
        return;
    }
    var sum = 0.0;
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[block * HEADS + head];
    }
    if ACCUMULATE {
        sum += d_sinks[head];
    }
    d_sinks[head] = sum;
}
