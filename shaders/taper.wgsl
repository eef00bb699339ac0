// The state (g, c) of a tapered norm: g is taken from the schedule (g, rho), c moves towards the mean of `scales` by rho.
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override ROWS: u32;
override LANES: u32; // lanes per workgroup: one team

@group(0) @binding(0) var<storage, read> scales: array<f32>; // [ROWS]
@group(0) @binding(1) var<storage, read> schedule: array<f32>; // [2]
@group(0) @binding(2) var<storage, read_write> state: array<f32>; // [2]

@compute @workgroup_size(1)
fn taper_gate() {
    state[0] = schedule[0];
}

@compute @workgroup_size(LANES)
fn taper_scale(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        sum += scales[row];
    }
    let mean = team_sum(sum, lane) / f32(ROWS);
    if lane == 0u {
        state[1] += schedule[1] * (mean - state[1]);
    }
}
