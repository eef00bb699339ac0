// added = FACTOR lambda^2 times the squared Frobenius norm of W_V W_O, where W_V is the last WIDTH columns of `packed`. A team of
// lanes makes a row of the product, four elements at a time, and sums its squares; one team adds up the rows.
//# texts team: alone, subgroup or workgroup
//# import shared/team_$team

override WIDTH: u32; // of the residual stream
override COLUMNS: u32; // of packed
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override FACTOR: f32;

@group(0) @binding(0) var<storage, read> packed: array<f32>; // [WIDTH, COLUMNS]
@group(0) @binding(1) var<storage, read> output: array<vec4<f32>>; // [WIDTH, WIDTH / 4]: W_O
@group(0) @binding(2) var<storage, read_write> squares: array<f32>; // [WIDTH]
@group(0) @binding(3) var<storage, read> lambda: array<f32>; // [1]
@group(0) @binding(4) var<storage, read_write> added: array<f32>; // [1]

@compute @workgroup_size(LANES)
fn row_squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, WIDTH - 1u);
    let member = lane % TEAM;
    let first = row * COLUMNS + COLUMNS - WIDTH;
    var sum = 0.0;
    for (var column = member; column < WIDTH / 4u; column += TEAM) {
        var product = vec4(0.0);
        for (var k = 0u; k < WIDTH; k++) {
            product += packed[first + k] * output[k * (WIDTH / 4u) + column];
        }
        sum += dot(product, product);
    }
    let whole = team_sum(sum, lane);
    if place < WIDTH && member == 0u {
        squares[row] = whole;
    }
}

@compute @workgroup_size(LANES)
fn added_variance(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < WIDTH; row += TEAM) {
        sum += squares[row];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u {
        added[0] = FACTOR * lambda[0] * lambda[0] * whole;
    }
}
