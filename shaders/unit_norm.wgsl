// Every row or column of a matrix of weights gets length one. A team takes one of them.
//# flags gated: a verdict may forbid it
//# flags half: the weights have a copy in f16
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override UNITS: u32;
override LENGTH: u32; // elements of a unit
override UNIT_STEP: u32; // elements from one unit to the next
override STEP: u32; // elements from one element of a unit to the next
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each

@group(0) @binding(0) var<storage, read_write> weights: array<f32>; // [UNITS * LENGTH]
//# if gated
struct Verdict {
    norm: f32,
    clip: f32,
    open: f32,
    halted: f32,
}

@group(0) @binding(1) var<storage, read> verdict: array<Verdict>; // [1]
//# end
//# if half
@group(0) @binding(2) var<storage, read_write> copied: array<f16>; // [UNITS * LENGTH]
//# end

@compute @workgroup_size(LANES)
fn unit_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last unit repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let member = lane % TEAM;
    let first = min(place, UNITS - 1u) * UNIT_STEP;
    var squares = 0.0;
    for (var k = member; k < LENGTH; k += TEAM) {
        let w = weights[first + k * STEP];
        squares += w * w;
    }
    let length = sqrt(team_sum(squares, lane));
    var writes = place < UNITS && length > 0.0;
    //# if gated
    writes = writes && verdict[0].open != 0.0;
    //# end
    if !writes {
        return;
    }
    for (var k = member; k < LENGTH; k += TEAM) {
        let after = weights[first + k * STEP] / length;
        weights[first + k * STEP] = after;
        //# if half
        copied[first + k * STEP] = narrow1(after);
        //# end
    }
}
