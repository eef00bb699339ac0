// y = x * r * gain with r = 1/sqrt(mean x^2 + epsilon) over each query and key head of packed rows; values are copied. Its
// adjoint, with g = dy * gain and xhat = x * r: dx = r * (g - xhat * mean(g * xhat)), d_gain += sum of dy * xhat.
//# flags images: x and dy are read as images
//# flags half: rows are f16
//# flags gains: queries and keys have gains
//# flags shared: queries and keys have one gain for each column of all heads
//# numbers lanes: of a workgroup
//# texts element: how rows are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# import shared/narrow

override COLUMNS: u32; // vec4s of a head's row
override HEADS: u32;
override PLACES: u32; // rows * 3 * HEADS: every head of q, k and v in every row
override EPSILON: f32;
override ROWS: u32;
override ROWS_EACH: u32; // rows per block of the gains' sums
override BLOCKS: u32;

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [PLACES, COLUMNS]
//# import shared/operand with name = dy, slot = 3, of = vec4<$element> // [PLACES, COLUMNS]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<$element>>; // [PLACES, COLUMNS]
@group(0) @binding(2) var<storage, read_write> r: array<f32>; // [rows, 2 * HEADS]
@group(0) @binding(4) var<storage, read> known_r: array<f32>; // the same
@group(0) @binding(5) var<storage, read_write> dx: array<vec4<$element>>; // [PLACES, COLUMNS]
//# if gains
@group(0) @binding(6) var<storage, read> query_gain: array<vec4<f32>>; // [COLUMNS]
@group(0) @binding(7) var<storage, read> key_gain: array<vec4<f32>>; // [COLUMNS]
//# end
//# if shared
override SCALE: f32; // what the gain is multiplied by

@group(0) @binding(11) var<storage, read> shared_gain: array<vec4<f32>>; // [HEADS, COLUMNS]
@group(0) @binding(12) var<storage, read_write> d_shared: array<vec4<f32>>; // [HEADS, COLUMNS]
//# end
@group(0) @binding(8) var<storage, read_write> parts: array<vec4<f32>>; // [2, BLOCKS, COLUMNS]
@group(0) @binding(9) var<storage, read_write> d_query: array<vec4<f32>>; // [COLUMNS]
@group(0) @binding(10) var<storage, read_write> d_key: array<vec4<f32>>; // [COLUMNS]

const LANES = ${lanes}u;

// Column `c` of head `head`, which counts the heads of q, k and v, in that row.
fn x_at(row: u32, head: u32, c: u32) -> vec4<f32> {
    //# if images
    return textureLoad(x, vec2(head * COLUMNS + c, row));
    //# else
    return vec4<f32>(x[(row * 3u * HEADS + head) * COLUMNS + c]);
    //# end
}

fn dy_at(row: u32, head: u32, c: u32) -> vec4<f32> {
    //# if images
    return textureLoad(dy, vec2(head * COLUMNS + c, row));
    //# else
    return vec4<f32>(dy[(row * 3u * HEADS + head) * COLUMNS + c]);
    //# end
}

fn gain_at(head: u32, c: u32) -> vec4<f32> {
    //# if shared
    return SCALE * shared_gain[(head % HEADS) * COLUMNS + c];
    //# else
    //# if gains
    if head < HEADS {
        return query_gain[c];
    }
    return key_gain[c];
    //# else
    return vec4(1.0);
    //# end
    //# end
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

// A lane takes one head of one row.
@compute @workgroup_size(LANES)
fn qk_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= PLACES {
        return;
    }
    let row = place / (3u * HEADS);
    let head = place - row * 3u * HEADS;
    // COLUMNS, in a form that no compiler knows: unrolled loops would keep a whole row in registers, and AMD's spills.
    let columns = COLUMNS + (place >> 31u);
    if head >= 2u * HEADS {
        for (var c = 0u; c < columns; c++) {
            y[place * COLUMNS + c] = ${narrow}(x_at(row, head, c));
        }
        return;
    }
    var squares = vec4(0.0);
    for (var c = 0u; c < columns; c++) {
        let v = x_at(row, head, c);
        squares += v * v;
    }
    let scale = 1.0 / sqrt(total(squares) / f32(4u * COLUMNS) + EPSILON);
    r[row * 2u * HEADS + head] = scale;
    for (var c = 0u; c < columns; c++) {
        y[place * COLUMNS + c] = ${narrow}(x_at(row, head, c) * (scale * gain_at(head, c)));
    }
}

@compute @workgroup_size(LANES)
fn qk_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= PLACES {
        return;
    }
    let row = place / (3u * HEADS);
    let head = place - row * 3u * HEADS;
    // COLUMNS, in a form that no compiler knows: unrolled loops would keep a whole row in registers, and AMD's spills.
    let columns = COLUMNS + (place >> 31u);
    if head >= 2u * HEADS {
        for (var c = 0u; c < columns; c++) {
            dx[place * COLUMNS + c] = ${narrow}(dy_at(row, head, c));
        }
        return;
    }
    let scale = known_r[row * 2u * HEADS + head];
    var along = vec4(0.0);
    for (var c = 0u; c < columns; c++) {
        along += dy_at(row, head, c) * gain_at(head, c) * x_at(row, head, c);
    }
    let pull = total(along) * scale / f32(4u * COLUMNS);
    for (var c = 0u; c < columns; c++) {
        let xhat = x_at(row, head, c) * scale;
        let d = (dy_at(row, head, c) * gain_at(head, c) - xhat * pull) * scale;
        dx[place * COLUMNS + c] = ${narrow}(d);
    }
}

// A lane sums one vector of columns over the heads of one part and a block of rows.
@compute @workgroup_size(LANES)
fn gain_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= 2u * BLOCKS * COLUMNS {
        return;
    }
    let c = place % COLUMNS;
    let part = place / (BLOCKS * COLUMNS);
    let start = place / COLUMNS % BLOCKS * ROWS_EACH;
    var sum = vec4(0.0);
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        for (var head = part * HEADS; head < (part + 1u) * HEADS; head++) {
            sum += dy_at(row, head, c) * (x_at(row, head, c) * known_r[row * 2u * HEADS + head]);
        }
    }
    parts[place] = sum;
}

// Adds up the blocks of one vector of columns.
@compute @workgroup_size(LANES)
fn gain_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = group.x * LANES + lane;
    if place >= 2u * COLUMNS {
        return;
    }
    let c = place % COLUMNS;
    let part = place / COLUMNS;
    var sum = vec4(0.0);
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[(part * BLOCKS + block) * COLUMNS + c];
    }
    if part == 0u {
        d_query[c] += sum;
    } else {
        d_key[c] += sum;
    }
}

//# if shared
// A lane sums one vector of columns over a block of rows, of queries and of keys.
@compute @workgroup_size(LANES)
fn shared_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * HEADS * COLUMNS {
        return;
    }
    let c = place % COLUMNS;
    let own = place / COLUMNS % HEADS;
    let start = place / (HEADS * COLUMNS) * ROWS_EACH;
    var sum = vec4(0.0);
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        for (var head = own; head < 2u * HEADS; head += HEADS) {
            sum += dy_at(row, head, c) * (x_at(row, head, c) * known_r[row * 2u * HEADS + head]);
        }
    }
    parts[place] = sum;
}

// Adds up the blocks of one vector of columns.
@compute @workgroup_size(LANES)
fn shared_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = group.x * LANES + lane;
    if place >= HEADS * COLUMNS {
        return;
    }
    var sum = vec4(0.0);
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[block * HEADS * COLUMNS + place];
    }
    d_shared[place] += SCALE * sum;
}
//# end
