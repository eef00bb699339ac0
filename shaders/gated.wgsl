// y = f(a) * b of packed rows a | b, and its adjoint: da = dy * b * f'(a), db = dy * f(a).
//# flags images: x and dy are read as images
//# flags half: tensors are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts function: `value` and `derivative`
//# import shared/narrow
//# insert function

override VECTORS: u32; // vec4s of y
override WIDTH: u32; // vec4s of a row of y
override P: f32; // a fixed p

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [R, 2 * WIDTH]
//# import shared/operand with name = dy, slot = 2, of = vec4<$element> // [R, WIDTH]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<$element>>; // [R, WIDTH]
@group(0) @binding(3) var<storage, read_write> dx: array<vec4<$element>>; // [R, 2 * WIDTH]

fn x_at(row: u32, column: u32) -> vec4<f32> {
    //# if images
    return textureLoad(x, vec2(column, row));
    //# else
    return vec4<f32>(x[row * 2u * WIDTH + column]);
    //# end
}

fn dy_at(row: u32, column: u32) -> vec4<f32> {
    //# if images
    return textureLoad(dy, vec2(column, row));
    //# else
    return vec4<f32>(dy[row * WIDTH + column]);
    //# end
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn gated(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let row = i / WIDTH;
            let column = i - row * WIDTH;
            y[i] = ${narrow}(value(x_at(row, column), P) * x_at(row, WIDTH + column));
        }
    }
}

@compute @workgroup_size(LANES)
fn gated_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let row = i / WIDTH;
            let column = i - row * WIDTH;
            let a = x_at(row, column);
            let d = dy_at(row, column);
            let place = row * 2u * WIDTH + column;
            dx[place] = ${narrow}(d * x_at(row, WIDTH + column) * derivative(a, P));
            dx[place + WIDTH] = ${narrow}(d * value(a, P));
        }
    }
}
