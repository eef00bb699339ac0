// Divides the queries of packed rows by a temperature for each head and position, and leaves keys and values as they are. Its
// adjoint does the same to the gradient, and d_temperature (+)= -(sum over the batch of y_q . dy_q) / temperature.
//# flags images: x and dy are read as images
//# flags half: rows are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# import shared/narrow

override VECTORS: u32; // vec4s of x
override BATCH: u32; // B
override SEQUENCE: u32; // T
override HEADS: u32; // H
override COLUMNS: u32; // vec4s of a head's row
override POSITIONS: u32; // of the table of temperatures, at least T
override ACCUMULATE: bool; // d_temperature is added to

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [B*T, 3*H*COLUMNS]: q | k | v
//# import shared/operand with name = dy, slot = 3, of = vec4<$element> // [B*T, 3*H*COLUMNS]
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

//# import shared/walk

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
            // Keys and values look up the last head's temperature, but do not use it.
            let head = min(column / COLUMNS, HEADS - 1u);
            let t = temperature[head * POSITIONS + row % SEQUENCE];
            let v = x_at(column, row);
            y[i] = ${narrow}(select(v, v / t, column < HEADS * COLUMNS));
        }
    }
}

// Here x is the result of `divide_queries`. A lane takes one head and position.
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
