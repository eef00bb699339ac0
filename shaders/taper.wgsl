// The state (g, c) of a norm on its way out: g is taken from a pair (g, rho) of the schedule, c moves by rho towards the mean of
// `scales`, or 1/c towards the mean of 1/scales.
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override ROWS: u32;
override LANES: u32; // lanes per workgroup: one team
override PAIR: u32; // where the pair begins
override DEVIATIONS: bool; // whether 1/c is the running mean

@group(0) @binding(0) var<storage, read> scales: array<f32>; // [ROWS]
@group(0) @binding(1) var<storage, read> schedule: array<f32>; // [2 n]
@group(0) @binding(2) var<storage, read_write> state: array<f32>; // [2]

// What is averaged, of a row's scale; and back.
fn averaged(v: f32) -> f32 {
    return select(v, 1.0 / v, DEVIATIONS);
}

@compute @workgroup_size(1)
fn taper_gate() {
    state[0] = schedule[PAIR];
}

@compute @workgroup_size(LANES)
fn taper_scale(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        sum += averaged(scales[row]);
    }
    let mean = team_sum(sum, lane) / f32(ROWS);
    if lane == 0u {
        let before = averaged(state[1]);
        state[1] = averaged(before + schedule[PAIR + 1u] * (mean - before));
    }
}
