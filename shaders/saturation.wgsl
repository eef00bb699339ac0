// The shares of |alpha x + s| above four thresholds, and the mean of gamma: counts of each team, then their sum.
//# flags images: x is read as an image
//# flags scaled: alpha is learned; without it, it is one
//# flags shifted: s is learned, besides alpha; without it, it is zero
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override VECTORS: u32; // vec4 elements in x
override COUNT: u32; // elements in x; the last vector may hold fewer than four
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override EACH: u32; // vectors per lane
override PARTS: u32; // number of teams
override WIDTH: u32; // elements of gamma

//# if images
override TEXELS: u32; // vec4 elements of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [VECTORS]
@group(0) @binding(1) var<storage, read> alpha: array<f32>; // [1]
@group(0) @binding(2) var<storage, read> shift: array<f32>; // [1]
@group(0) @binding(3) var<storage, read> gamma: array<f32>; // [WIDTH]
@group(0) @binding(4) var<storage, read_write> parts: array<vec4<f32>>; // [PARTS]
@group(0) @binding(5) var<storage, read_write> out: array<f32>; // [5]

//# import shared/operand_at with name = x

fn one_if(is: vec4<bool>) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), is);
}

@compute @workgroup_size(LANES)
fn count_above(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    //# if scaled
    let a = alpha[0];
    //# else
    let a = 1.0;
    //# end
    //# if shifted
    let s = shift[0];
    //# else
    let s = 0.0;
    //# end
    let part = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = part * TEAM * EACH + member;
    var above = vec4(0.0);
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * TEAM;
        if i < VECTORS {
            // Memory after the last element may hold anything.
            let inside = one_if(vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT));
            let u = abs(a * x_at(i) + vec4(s));
            above += vec4(
                dot(inside, one_if(u > vec4(0.5))),
                dot(inside, one_if(u > vec4(1.0))),
                dot(inside, one_if(u > vec4(2.0))),
                dot(inside, one_if(u > vec4(3.0))),
            );
        }
    }
    let share = vec4(
        team_sum(above.x, lane), team_sum(above.y, lane), team_sum(above.z, lane), team_sum(above.w, lane),
    );
    if part < PARTS && member == 0u {
        parts[part] = share;
    }
}

// One team adds up all counts, and gamma.
@compute @workgroup_size(LANES)
fn shares(@builtin(local_invocation_index) lane: u32) {
    var above = vec4(0.0);
    for (var part = lane % TEAM; part < PARTS; part += TEAM) {
        above += parts[part];
    }
    var gain = 0.0;
    for (var column = lane % TEAM; column < WIDTH; column += TEAM) {
        gain += gamma[column];
    }
    let whole = vec4(
        team_sum(above.x, lane), team_sum(above.y, lane), team_sum(above.z, lane), team_sum(above.w, lane),
    );
    let gains = team_sum(gain, lane);
    if lane == 0u {
        for (var at = 0u; at < 4u; at++) {
            out[at] = whole[at] / f32(COUNT);
        }
        out[4] = gains / f32(WIDTH);
    }
}
