// y = f(x, p) elementwise, dx = dy df/dx, and for a learned p: dp += sum of dy df/dp.
//# flags images: x and dy are read as images
//# flags half: x, y and their gradients are f16
//# numbers lanes each: of the element-wise kernels
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# flags learned: p is learned
//# texts function: `value`, `derivative` and, for a learned p, `derivative_p`
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# insert function
//# import shared/team_$team

override VECTORS: u32; // vec4 elements in x
override P: f32; // a fixed p
override ENTRY: u32; // the element of `learned` that is p
override COUNT: u32; // elements in x; the last vector may hold fewer than four
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override EACH: u32; // vectors per lane
override PARTS: u32; // number of teams

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dy, slot = 3, of = vec4<$element> // [VECTORS]
@group(0) @binding(1) var<storage, read_write> y: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(2) var<storage, read> learned: array<f32>; // [more than ENTRY]
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(5) var<storage, read_write> parts: array<f32>; // [PARTS]
@group(0) @binding(6) var<storage, read_write> d_learned: array<f32>; // [more than ENTRY]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = dy

const WIDE = ${lanes}u; // lanes of a workgroup of the element-wise kernels
const FEW = ${each}u; // vectors per lane there, WIDE apart

@compute @workgroup_size(WIDE)
fn activation_fixed(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * WIDE * FEW + lane;
    for (var n = 0u; n < FEW; n++) {
        let i = first + n * WIDE;
        if i < VECTORS {
            y[i] = ${narrow}(value(x_at(i), P));
        }
    }
}

@compute @workgroup_size(WIDE)
fn activation_learned(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = learned[ENTRY];
    let first = (group.x + group.y * groups.x) * WIDE * FEW + lane;
    for (var n = 0u; n < FEW; n++) {
        let i = first + n * WIDE;
        if i < VECTORS {
            y[i] = ${narrow}(value(x_at(i), p));
        }
    }
}

@compute @workgroup_size(WIDE)
fn activation_fixed_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * WIDE * FEW + lane;
    for (var n = 0u; n < FEW; n++) {
        let i = first + n * WIDE;
        if i < VECTORS {
            dx[i] = ${narrow}(dy_at(i) * derivative(x_at(i), P));
        }
    }
}

//# if learned
// dx, and each team's share of p's gradient.
@compute @workgroup_size(LANES)
fn activation_learned_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let p = learned[ENTRY];
    let part = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = part * TEAM * EACH + member;
    var sum = vec4(0.0);
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * TEAM;
        if i < VECTORS {
            let v = x_at(i);
            let d = dy_at(i);
            dx[i] = ${narrow}(d * derivative(v, p));
            // Memory after the last element may hold anything.
            let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT);
            sum += select(vec4(0.0), d * derivative_p(v, p), inside);
        }
    }
    let share = team_sum((sum.x + sum.y) + (sum.z + sum.w), lane);
    if part < PARTS && member == 0u {
        parts[part] = share;
    }
}
//# end

// One team adds up all shares, always in the same order.
@compute @workgroup_size(LANES)
fn learned_total(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var part = lane % TEAM; part < PARTS; part += TEAM) {
        sum += parts[part];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u {
        d_learned[ENTRY] += whole;
    }
}
