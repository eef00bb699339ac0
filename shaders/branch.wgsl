// z = x + s * y with a constant s, a learned one, or a learned one for each column, and its adjoint: dy = s * dz,
// ds (+)= sum of dz * y over all, or over each column. Four elements at a time; x, z and dz are f32.
//# flags images: x, y and dz are read as images
//# flags half: y and dy are f16
//# flags learned: s is a parameter
//# flags vector: s has a number for each column
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how y and dy are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override VECTORS: u32; // vec4s of x
override CONSTANT: f32;
override WIDTH: u32; // vec4s of a row
override ROWS: u32;
override ROWS_EACH: u32; // rows of a block
override BLOCKS: u32;
override TEAM_LANES: u32; // lanes of a workgroup that is one team
override ACCUMULATE: bool; // ds is added to
//# if images
override TEXELS: u32; // vec4s of a row
//# end

//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
//# import shared/operand with name = y, slot = 1, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dz, slot = 4, of = vec4<f32>, texel = rgba32float // [VECTORS]
//# if vector
@group(0) @binding(2) var<storage, read> s: array<vec4<f32>>; // [WIDTH]
//# else
@group(0) @binding(2) var<storage, read> s: array<f32>; // [1]
//# end
@group(0) @binding(3) var<storage, read_write> z: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(5) var<storage, read_write> dy: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(6) var<storage, read_write> parts: array<vec4<f32>>; // [BLOCKS, WIDTH]
@group(0) @binding(7) var<storage, read_write> d_vector: array<vec4<f32>>; // [WIDTH]
@group(0) @binding(8) var<storage, read_write> d_scalar: array<f32>; // [1]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = y

//# import shared/operand_at with name = dz

// s of the columns of that vector.
fn factor(i: u32) -> vec4<f32> {
    //# if vector
    return s[i % WIDTH];
    //# else
    //# if learned
    return vec4(s[0]);
    //# else
    return vec4(CONSTANT);
    //# end
    //# end
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn branch(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            z[i] = x_at(i) + factor(i) * y_at(i);
        }
    }
}

@compute @workgroup_size(LANES)
fn branch_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            dy[i] = ${narrow}(factor(i) * dz_at(i));
        }
    }
}

// A lane sums one vector of columns over one block of rows.
@compute @workgroup_size(LANES)
fn factor_parts(
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
    var sum = vec4(0.0);
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        sum += dz_at(row * WIDTH + column) * y_at(row * WIDTH + column);
    }
    parts[place] = sum;
}

// A lane adds up the blocks of one vector of columns.
@compute @workgroup_size(LANES)
fn vector_total(
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
    if ACCUMULATE {
        sum += d_vector[column];
    }
    d_vector[column] = sum;
}

// One team adds up everything, always in the same order.
@compute @workgroup_size(TEAM_LANES)
fn scalar_total(@builtin(local_invocation_index) lane: u32) {
    var sum = vec4(0.0);
    for (var i = lane; i < BLOCKS * WIDTH; i += TEAM) {
        sum += parts[i];
    }
    var whole = team_sum((sum.x + sum.y) + (sum.z + sum.w), lane);
    if lane == 0u {
        if ACCUMULATE {
            whole += d_scalar[0];
        }
        d_scalar[0] = whole;
    }
}
