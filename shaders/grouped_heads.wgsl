// Packed rows q | k | v from queries, keys and values that are apart, where heads in groups share a key and a value; and its
// adjoint, in which the gradients of a group are added up.
//# flags half: tensors are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# import shared/narrow

override ROWS: u32;
override QUERIES: u32; // vec4s of a row of q
override KEYS: u32; // vec4s of a row of k
override COLUMNS: u32; // vec4s of a head

@group(0) @binding(0) var<storage, read> q: array<vec4<$element>>; // [ROWS, QUERIES]
@group(0) @binding(1) var<storage, read> k: array<vec4<$element>>; // [ROWS, KEYS]
@group(0) @binding(2) var<storage, read> v: array<vec4<$element>>; // [ROWS, KEYS]
@group(0) @binding(3) var<storage, read_write> packed: array<vec4<$element>>; // [ROWS, 3 * QUERIES]
@group(0) @binding(4) var<storage, read> known: array<vec4<$element>>; // the gradient of that
@group(0) @binding(5) var<storage, read_write> dq: array<vec4<$element>>; // [ROWS, QUERIES]
@group(0) @binding(6) var<storage, read_write> dk: array<vec4<$element>>; // [ROWS, KEYS]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4<$element>>; // [ROWS, KEYS]

//# import shared/walk

@compute @workgroup_size(LANES)
fn grouped_heads(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * 3u * QUERIES {
            let row = i / (3u * QUERIES);
            let column = i - row * 3u * QUERIES;
            let part = column / QUERIES;
            let place = column - part * QUERIES;
            let shared_place = row * KEYS + place / COLUMNS / (QUERIES / KEYS) * COLUMNS + place % COLUMNS;
            if part == 0u {
                packed[i] = q[row * QUERIES + place];
            } else if part == 1u {
                packed[i] = k[shared_place];
            } else {
                packed[i] = v[shared_place];
            }
        }
    }
}

@compute @workgroup_size(LANES)
fn query_part(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * QUERIES {
            let row = i / QUERIES;
            dq[i] = known[row * 3u * QUERIES + (i - row * QUERIES)];
        }
    }
}

@compute @workgroup_size(LANES)
fn group_sums(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    let members = QUERIES / KEYS;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * KEYS {
            let row = i / KEYS;
            let column = i - row * KEYS;
            let start = row * 3u * QUERIES + QUERIES + column / COLUMNS * members * COLUMNS + column % COLUMNS;
            var of_k = vec4(0.0);
            var of_v = vec4(0.0);
            for (var member = 0u; member < members; member++) {
                of_k += vec4<f32>(known[start + member * COLUMNS]);
                of_v += vec4<f32>(known[start + QUERIES + member * COLUMNS]);
            }
            dk[i] = ${narrow}(of_k);
            dv[i] = ${narrow}(of_v);
        }
    }
}
