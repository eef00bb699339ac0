// z = beta x + y / alpha, and its adjoint: dx = beta dz, dy = dz / alpha, d_beta (+)= sum of dz x,
// d_alpha (+)= -(sum of dz y) / alpha^2. Four elements at a time.
// x, z and their gradients are f32.
//# flags images: x, y and dz are read as images
//# flags half: y and dy are f16
//# numbers lanes each: of the element-wise kernel
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override VECTORS: u32; // vec4 elements in x
override COUNT: u32; // elements in x; the last vector may hold fewer than four
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override EACH: u32; // vectors per lane
override PARTS: u32; // number of teams
override ACCUMULATE: bool; // d_alpha and d_beta are added to

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
//# import shared/operand with name = y, slot = 1, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dz, slot = 5, of = vec4<f32>, texel = rgba32float // [VECTORS]
@group(0) @binding(2) var<storage, read> alpha: array<f32>; // [1]
@group(0) @binding(3) var<storage, read> beta: array<f32>; // [1]
@group(0) @binding(4) var<storage, read_write> z: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(6) var<storage, read_write> dx: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(7) var<storage, read_write> dy: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(8) var<storage, read_write> parts: array<vec2<f32>>; // [PARTS]: of dz y and of dz x
@group(0) @binding(9) var<storage, read_write> d_alpha: array<f32>; // [1]
@group(0) @binding(10) var<storage, read_write> d_beta: array<f32>; // [1]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = y

//# import shared/operand_at with name = dz

const WIDE = ${lanes}u; // lanes of a workgroup of the element-wise kernel
const FEW = ${each}u; // vectors per lane there, WIDE apart

@compute @workgroup_size(WIDE)
fn scaled_sum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let skip = beta[0];
    let gain = 1.0 / alpha[0];
    let first = (group.x + group.y * groups.x) * WIDE * FEW + lane;
    for (var n = 0u; n < FEW; n++) {
        let i = first + n * WIDE;
        if i < VECTORS {
            z[i] = skip * x_at(i) + gain * y_at(i);
        }
    }
}

// dx, dy, and each team's share of the two sums.
@compute @workgroup_size(LANES)
fn scaled_sum_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let skip = beta[0];
    let gain = 1.0 / alpha[0];
    let part = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = part * TEAM * EACH + member;
    var with_y = vec4(0.0);
    var with_x = vec4(0.0);
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * TEAM;
        if i < VECTORS {
            let d = dz_at(i);
            dx[i] = skip * d;
            dy[i] = ${narrow}(gain * d);
            // Memory after the last element may hold anything.
            let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT);
            with_y += select(vec4(0.0), d * y_at(i), inside);
            with_x += select(vec4(0.0), d * x_at(i), inside);
        }
    }
    let share_y = team_sum((with_y.x + with_y.y) + (with_y.z + with_y.w), lane);
    let share_x = team_sum((with_x.x + with_x.y) + (with_x.z + with_x.w), lane);
    if part < PARTS && member == 0u {
        parts[part] = vec2(share_y, share_x);
    }
}

// One team adds up all shares, always in the same order.
@compute @workgroup_size(LANES)
fn scale_totals(@builtin(local_invocation_index) lane: u32) {
    var with_y = 0.0;
    var with_x = 0.0;
    for (var part = lane % TEAM; part < PARTS; part += TEAM) {
        with_y += parts[part].x;
        with_x += parts[part].y;
    }
    let whole_y = team_sum(with_y, lane);
    let whole_x = team_sum(with_x, lane);
    if lane == 0u {
        let gain = 1.0 / alpha[0];
        let pull = -whole_y * gain * gain;
        if ACCUMULATE {
            d_alpha[0] += pull;
            d_beta[0] += whole_x;
        } else {
            d_alpha[0] = pull;
            d_beta[0] = whole_x;
        }
    }
}
