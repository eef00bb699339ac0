// The queries of packed rows divided by a temperature for each head and position; keys and values as they are. And its
// adjoint: the same on the gradient, and d_temperature (+)= -(sum over the batch of y_q . dy_q) / temperature.
//# flags images: x and dy are read as images
//# flags half: rows are f16
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# if half
//# import shared/narrow
//# end

override VECTORS: u32; // vec4s of x
override BATCH: u32; // B
override SEQUENCE: u32; // T
override HEADS: u32; // H
override COLUMNS: u32; // vec4s of a head's row
override POSITIONS: u32; // of the table of temperatures, at least T
override ACCUMULATE: bool; // d_temperature is added to

//# if images
@group(0) @binding(0) var x: texture_storage_2d<$texel, read>; // [B*T, 3*H*COLUMNS]: q | k | v
@group(0) @binding(3) var dy: texture_storage_2d<$texel, read>; // [B*T, 3*H*COLUMNS]
//# else
@group(0) @binding(0) var<storage, read> x: array<vec4<$element>>; // [B*T, 3*H*COLUMNS]: q | k | v
@group(0) @binding(3) var<storage, read> dy: array<vec4<$element>>; // [B*T, 3*H*COLUMNS]
//# end
@group(0) @binding(1) var<storage, read> temperature: array<f32>; // [H, POSITIONS]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [B*T, 3*H*COLUMNS]
@group(0) @binding(4) var<storage, read_write> d_temperature: array<f32>; // [H, POSITIONS]

fn x_at(column: u32, row: u32) -> vec4<f32> {
    //# if images
    return textureLoad(x, vec2(column, row));
    //# else
    return vec4<f32>(x[row * 3u * HEADS * COLUMNS + column]);
    //# end
}

fn dy_at(column: u32, row: u32) -> vec4<f32> {
    //# if images
    return textureLoad(dy, vec2(column, row));
    //# else
    return vec4<f32>(dy[row * 3u * HEADS * COLUMNS + column]);
    //# end
}

const LANES = 64u;
const EACH = 4u; // vectors of one lane; LANES apart, so that neighbours read neighbours

@compute @workgroup_size(LANES)
fn divide_queries(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let width = 3u * HEADS * COLUMNS;
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let row = i / width;
            let column = i - row * width;
            // Keys and values take a temperature of the last head, and leave it.
            let head = min(column / COLUMNS, HEADS - 1u);
            let t = temperature[head * POSITIONS + row % SEQUENCE];
            let v = x_at(column, row);
            y[i] = ${narrow}(select(v, v / t, column < HEADS * COLUMNS));
        }
    }
}

// x is what was made there: y. One lane for each head and position.
@compute @workgroup_size(LANES)
fn temperature_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= HEADS * POSITIONS {
        return;
    }
    let head = place / POSITIONS;
    let position = place % POSITIONS;
    var sum = vec4(0.0);
    // Positions that no sequence reaches get zeros.
    for (var b = 0u; b < select(0u, BATCH, position < SEQUENCE); b++) {
        let row = b * SEQUENCE + position;
        for (var c = head * COLUMNS; c < (head + 1u) * COLUMNS; c++) {
            sum += x_at(c, row) * dy_at(c, row);
        }
    }
    let pull = -((sum.x + sum.y) + (sum.z + sum.w)) / temperature[place];
    if ACCUMULATE {
        d_temperature[place] += pull;
    } else {
        d_temperature[place] = pull;
    }
}
