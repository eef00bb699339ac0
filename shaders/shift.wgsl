// y = x + b with one learned b, the sum of dy that is its gradient, and y = c * x. Four elements at a time.
//# flags images: x is read as an image
//# flags half: x and y are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override VECTORS: u32; // vec4s of x; the last one may hold fewer than four elements
override COUNT: u32; // elements of x
override CONSTANT: f32;
override LANES_HERE: u32; // lanes per workgroup of a sum: one team, or teams of one lane each
override TEAM_EACH: u32; // vectors per lane there
override PARTS: u32; // number of teams
override ACCUMULATE: bool; // db is added to
//# if images
override TEXELS: u32; // vec4s of a row
//# end

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [VECTORS]
@group(0) @binding(1) var<storage, read> b: array<f32>; // [1]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(3) var<storage, read_write> parts: array<f32>; // [PARTS]
@group(0) @binding(4) var<storage, read_write> db: array<f32>; // [1]

//# import shared/operand_at with name = x

//# import shared/walk

@compute @workgroup_size(LANES)
fn shift(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            y[i] = ${narrow}(x_at(i) + b[0]);
        }
    }
}

@compute @workgroup_size(LANES)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            y[i] = ${narrow}(CONSTANT * x_at(i));
        }
    }
}

// Each team's share of the sum; here x is dy.
@compute @workgroup_size(LANES_HERE)
fn shift_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = ((group.x + group.y * groups.x) * LANES_HERE + lane) / TEAM;
    let member = lane % TEAM;
    let first = part * TEAM * TEAM_EACH + member;
    var sum = vec4(0.0);
    for (var n = 0u; n < TEAM_EACH; n++) {
        let i = first + n * TEAM;
        if i < VECTORS {
            // Memory after the last element may hold anything.
            let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT);
            sum += select(vec4(0.0), x_at(i), inside);
        }
    }
    let share = team_sum((sum.x + sum.y) + (sum.z + sum.w), lane);
    if part < PARTS && member == 0u {
        parts[part] = share;
    }
}

// One team adds up all shares, always in the same order.
@compute @workgroup_size(LANES_HERE)
fn shift_total(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var part = lane % TEAM; part < PARTS; part += TEAM) {
        sum += parts[part];
    }
    var whole = team_sum(sum, lane);
    if lane == 0u {
        if ACCUMULATE {
            whole += db[0];
        }
        db[0] = whole;
    }
}
