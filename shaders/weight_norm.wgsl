// The norm of a tensor of weights, and its return to the norm that it had before an update.
//# flags half: the weights have a copy in f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override ELEMENTS: u32;
override SHARES: u32; // sums of squares
override TEAM_LANES: u32; // lanes of the workgroup that adds them up

struct Verdict {
    norm: f32,
    clip: f32,
    open: f32,
    halted: f32,
}

@group(0) @binding(0) var<storage, read> known_weights: array<f32>; // [ELEMENTS]
@group(0) @binding(1) var<storage, read_write> weights: array<f32>; // [ELEMENTS]
@group(0) @binding(2) var<storage, read_write> shares: array<f32>; // [SHARES]
@group(0) @binding(3) var<storage, read_write> norm: array<f32>; // [1]
@group(0) @binding(4) var<storage, read> before: array<f32>; // [1]
@group(0) @binding(5) var<storage, read> verdict: array<Verdict>; // [1]
//# if half
@group(0) @binding(6) var<storage, read_write> copied: array<f16>; // [ELEMENTS]
//# end

//# import shared/walk

// A lane sums every SHARES-th square.
@compute @workgroup_size(LANES)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= SHARES {
        return;
    }
    var sum = 0.0;
    for (var i = place; i < ELEMENTS; i += SHARES) {
        sum += known_weights[i] * known_weights[i];
    }
    shares[place] = sum;
}

// The same of weights that are then changed.
@compute @workgroup_size(LANES)
fn own_squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= SHARES {
        return;
    }
    var sum = 0.0;
    for (var i = place; i < ELEMENTS; i += SHARES) {
        sum += weights[i] * weights[i];
    }
    shares[place] = sum;
}

// One team adds up all shares, always in the same order.
@compute @workgroup_size(TEAM_LANES)
fn root(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < SHARES; i += TEAM) {
        sum += shares[i];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u {
        norm[0] = sqrt(whole);
    }
}

@compute @workgroup_size(LANES)
fn project(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if verdict[0].open == 0.0 || norm[0] == 0.0 {
        return;
    }
    let factor = before[0] / norm[0];
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ELEMENTS {
            let after = weights[i] * factor;
            weights[i] = after;
            //# if half
            copied[i] = narrow1(after);
            //# end
        }
    }
}
