// y = s x, and its adjoint: dx = s dy, ds += sum of dy x. Four elements at a time.
//# flags images: x and dy are read as images
//# numbers lanes each: as in shared/walk.wgsl
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override VECTORS: u32; // vec4 elements in x
override COUNT: u32; // elements in x; the last vector may hold fewer than four
override TEAM_LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override EACH_LANE: u32; // vectors per lane of a team
override PARTS: u32; // number of teams

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
//# import shared/operand with name = dy, slot = 3, of = vec4<f32>, texel = rgba32float // [VECTORS]
@group(0) @binding(1) var<storage, read> scale: array<f32>; // [1]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<f32>>; // [VECTORS]
@group(0) @binding(5) var<storage, read_write> parts: array<f32>; // [PARTS]
@group(0) @binding(6) var<storage, read_write> d_scale: array<f32>; // [1]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = dy

//# import shared/walk

@compute @workgroup_size(LANES)
fn learned_scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let s = scale[0];
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            y[i] = s * x_at(i);
        }
    }
}

// dx, and each team's share of the sum.
@compute @workgroup_size(TEAM_LANES)
fn learned_scale_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let s = scale[0];
    let part = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = part * TEAM * EACH_LANE + member;
    var sum = vec4(0.0);
    for (var n = 0u; n < EACH_LANE; n++) {
        let i = first + n * TEAM;
        if i < VECTORS {
            let d = dy_at(i);
            dx[i] = s * d;
            // Memory after the last element may hold anything.
            let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT);
            sum += select(vec4(0.0), d * x_at(i), inside);
        }
    }
    let share = team_sum((sum.x + sum.y) + (sum.z + sum.w), lane);
    if part < PARTS && member == 0u {
        parts[part] = share;
    }
}

// One team adds up all shares, always in the same order.
@compute @workgroup_size(TEAM_LANES)
fn scale_total(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var part = lane % TEAM; part < PARTS; part += TEAM) {
        sum += parts[part];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u {
        d_scale[0] += whole;
    }
}
