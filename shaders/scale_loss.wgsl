// The root mean squares of rows, the loss that holds them at a target, and the adjoints of both.
//# flags addend: something is added to dx
//# flags scaled: there is a loss scale
//# numbers lanes each: as in shared/walk.wgsl
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // elements of a row
override EPSILON: f32;
override WEIGHT: f32; // of a squared deviation
override TEAM_LANES: u32; // lanes of a workgroup that is one team

struct State {
    gate: f32,
    held: f32, // what the root mean squares are held at
}

struct Schedule {
    gate: f32,
    share: f32, // how far the target still moves
}

@group(0) @binding(0) var<storage, read> x: array<f32>; // [ROWS, WIDTH]
@group(0) @binding(1) var<storage, read_write> scales: array<f32>; // [ROWS]
@group(0) @binding(2) var<storage, read> known_scales: array<f32>; // [ROWS]
@group(0) @binding(3) var<storage, read> state: array<State>; // [1]
@group(0) @binding(4) var<storage, read> schedule: array<Schedule>; // [1]
@group(0) @binding(5) var<storage, read_write> loss: array<f32>; // [1]
@group(0) @binding(6) var<storage, read_write> d_scales: array<f32>; // [ROWS]
@group(0) @binding(7) var<storage, read> ds: array<f32>; // [ROWS]
@group(0) @binding(8) var<storage, read_write> dx: array<f32>; // [ROWS, WIDTH]
//# if addend
@group(0) @binding(9) var<storage, read> addend: array<f32>; // [ROWS, WIDTH]
//# end
//# if scaled
@group(0) @binding(10) var<storage, read> scaling: array<vec4<f32>>; // [1]: the first number is the loss scale
//# end

//# import shared/walk

// A team takes one row.
@compute @workgroup_size(TEAM_LANES)
fn row_scales(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = group.x + group.y * groups.x;
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let row = min(place, ROWS - 1u);
    var sum = 0.0;
    for (var column = lane; column < WIDTH; column += TEAM) {
        let value = x[row * WIDTH + column];
        sum += value * value;
    }
    let whole = team_sum(sum, lane);
    if lane == 0u && place < ROWS {
        scales[row] = sqrt(whole / f32(WIDTH) + EPSILON);
    }
}

// One team takes all rows.
@compute @workgroup_size(TEAM_LANES)
fn scale_loss(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        let apart = known_scales[row] - state[0].held;
        sum += apart * apart;
    }
    let whole = team_sum(sum, lane);
    if lane == 0u && schedule[0].share == 0.0 {
        loss[0] += WEIGHT * whole;
    }
}

@compute @workgroup_size(LANES)
fn d_scale_loss(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.x + group.y * groups.x) * LANES + lane;
    if row < ROWS {
        var factor = select(0.0, 2.0 * WEIGHT, schedule[0].share == 0.0);
        //# if scaled
        factor *= scaling[0].x;
        //# end
        d_scales[row] = factor * (known_scales[row] - state[0].held);
    }
}

@compute @workgroup_size(LANES)
fn backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let row = i / WIDTH;
            var own = ds[row] / (f32(WIDTH) * known_scales[row]) * x[i];
            //# if addend
            own += addend[i];
            //# end
            dx[i] = own;
        }
    }
}
