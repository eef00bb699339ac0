// Adaptive gradient clipping: a unit's gradient is scaled down to MOST times the norm of its weights, at least 1e-3. A team
// takes one unit.
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override UNITS: u32;
override LENGTH: u32; // elements of a unit
override UNIT_STEP: u32; // elements from one unit to the next
override STEP: u32; // elements from one element of a unit to the next
override MOST: f32;
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each

struct Verdict {
    norm: f32,
    clip: f32, // also undoes the loss scale
    open: f32,
    halted: f32,
}

@group(0) @binding(0) var<storage, read> weights: array<f32>; // [UNITS * LENGTH]
@group(0) @binding(1) var<storage, read> verdict: array<Verdict>; // [1]
@group(0) @binding(2) var<storage, read_write> gradient: array<f32>; // [UNITS * LENGTH]

@compute @workgroup_size(LANES)
fn unit_clip(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last unit repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = min(place, UNITS - 1u) * UNIT_STEP;
    var of_gradient = 0.0;
    var of_weights = 0.0;
    for (var k = member; k < LENGTH; k += TEAM) {
        let g = gradient[first + k * STEP];
        let w = weights[first + k * STEP];
        of_gradient += g * g;
        of_weights += w * w;
    }
    let judged = verdict[0];
    let norm = judged.clip * sqrt(team_sum(of_gradient, lane));
    let allowed = MOST * max(sqrt(team_sum(of_weights, lane)), 1e-3);
    if judged.open == 0.0 || place >= UNITS || norm <= allowed {
        return;
    }
    for (var k = member; k < LENGTH; k += TEAM) {
        gradient[first + k * STEP] *= allowed / norm;
    }
}
