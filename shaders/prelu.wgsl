// ReLU with a learned slope below zero for each column, and its adjoint.
//# flags images: x and dy are read as images
//# flags half: x, y and their gradients are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# import shared/narrow

override VECTORS: u32; // vec4s of x
override WIDTH: u32; // vec4s of a row
override ROWS: u32;
override ROWS_EACH: u32; // rows of a block
override BLOCKS: u32;
//# if images
override TEXELS: u32; // vec4s of a row
//# end

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dy, slot = 3, of = vec4<$element> // [VECTORS]
@group(0) @binding(1) var<storage, read> slopes: array<vec4<f32>>; // [WIDTH]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>; // [BLOCKS, WIDTH]
@group(0) @binding(6) var<storage, read_write> d_slopes: array<vec4<f32>>; // [WIDTH]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = dy

//# import shared/walk

@compute @workgroup_size(LANES)
fn prelu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let v = x_at(i);
            y[i] = ${narrow}(select(slopes[i % WIDTH] * v, v, v >= vec4(0.0)));
        }
    }
}

// A lane takes one vector of columns of a block of rows.
@compute @workgroup_size(LANES)
fn prelu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let column = place % WIDTH;
    let start = place / WIDTH * ROWS_EACH;
    let a = slopes[column];
    var sum = vec4(0.0);
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        let i = row * WIDTH + column;
        let v = x_at(i);
        let d = dy_at(i);
        dx[i] = ${narrow}(select(a * d, d, v >= vec4(0.0)));
        sum += select(vec4(0.0), d * v, v < vec4(0.0));
    }
    parts[place] = sum;
}

// A lane adds up the blocks of one vector of columns.
@compute @workgroup_size(LANES)
fn prelu_total(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (group.x + group.y * groups.x) * LANES + lane;
    if column >= WIDTH {
        return;
    }
    var sum = vec4(0.0);
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[block * WIDTH + column];
    }
    d_slopes[column] += sum;
}
