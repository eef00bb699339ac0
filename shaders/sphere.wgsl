// z = N(x + s * (N(y) - x)) over rows, with N(v) = v / sqrt(|v|^2 + epsilon) and s = |SCALE * a| for each column, and its adjoint. With
// r = 1 / sqrt(|y|^2 + epsilon), q the same of the sum, yhat = y * r and t = <z, dz>:  dm = q (dz - t z),  dx = (1 - s) dm,
// dy = r (s dm - yhat <yhat, s dm>),  da (+)= SCALE sign(a) sum of dm (yhat - x) over rows. Four elements at a time.
//# flags images: x, y, known_z and dz are read as images
//# flags half: y and dy are f16
//# numbers lanes: of a workgroup of the column sums
//# texts team: alone, subgroup or workgroup
//# texts element: how y and dy are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# import shared/narrow
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vec4s of a row
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override SCALE: f32;
override EPSILON: f32;
override BLOCKS: u32; // blocks of rows for the column sums
override ROWS_EACH: u32; // rows of a block
override ACCUMULATE: bool; // da is added to

//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = y, slot = 1, of = vec4<$element> // [ROWS, WIDTH]
//# import shared/operand with name = known_z, slot = 5, of = vec4<f32>, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = dz, slot = 6, of = vec4<f32>, texel = rgba32float // [ROWS, WIDTH]
@group(0) @binding(2) var<storage, read> a: array<vec4<f32>>; // [WIDTH]
@group(0) @binding(3) var<storage, read_write> z: array<vec4<f32>>; // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read_write> lengths: array<vec2<f32>>; // [ROWS]: r, q
@group(0) @binding(7) var<storage, read> known_lengths: array<vec2<f32>>; // [ROWS]
@group(0) @binding(8) var<storage, read_write> dx: array<vec4<f32>>; // [ROWS, WIDTH]
@group(0) @binding(9) var<storage, read_write> dy: array<vec4<$element>>; // [ROWS, WIDTH]
@group(0) @binding(10) var<storage, read_write> turns: array<f32>; // [ROWS]: t
@group(0) @binding(11) var<storage, read> known_turns: array<f32>; // [ROWS]
@group(0) @binding(12) var<storage, read_write> parts: array<vec4<f32>>; // [BLOCKS, WIDTH]
@group(0) @binding(13) var<storage, read_write> da: array<vec4<f32>>; // [WIDTH]

//# import shared/row_at with name = x, of = vec4<f32>
//# import shared/row_at with name = y, of = vec4<f32>
//# import shared/row_at with name = known_z, of = vec4<f32>
//# import shared/row_at with name = dz, of = vec4<f32>

fn strength(column: u32) -> vec4<f32> {
    return abs(SCALE * a[column]);
}

// x + s * (yhat - x).
fn between(row: u32, column: u32, r: f32) -> vec4<f32> {
    let here = x_at(row, column);
    return here + strength(column) * (y_at(row, column) * r - here);
}

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(LANES)
fn sphere(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    // WIDTH, in a form that no compiler knows: unrolled loops would keep a whole row in registers.
    let width = WIDTH + (place >> 31u);
    var squares = vec4(0.0);
    for (var c = member; c < width; c += TEAM) {
        let v = y_at(row, c);
        squares += v * v;
    }
    let r = 1.0 / sqrt(team_sum(total(squares), lane) + EPSILON);
    squares = vec4(0.0);
    for (var c = member; c < width; c += TEAM) {
        let v = between(row, c, r);
        squares += v * v;
    }
    let q = 1.0 / sqrt(team_sum(total(squares), lane) + EPSILON);
    if place >= ROWS {
        return;
    }
    for (var c = member; c < width; c += TEAM) {
        z[row * WIDTH + c] = between(row, c, r) * q;
    }
    if member == 0u {
        lengths[row] = vec2(r, q);
    }
}

@compute @workgroup_size(LANES)
fn sphere_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let width = WIDTH + (place >> 31u);
    let r = known_lengths[row].x;
    let q = known_lengths[row].y;
    var along = vec4(0.0);
    for (var c = member; c < width; c += TEAM) {
        along += known_z_at(row, c) * dz_at(row, c);
    }
    let turn = team_sum(total(along), lane);
    along = vec4(0.0);
    for (var c = member; c < width; c += TEAM) {
        let dm = q * (dz_at(row, c) - turn * known_z_at(row, c));
        along += strength(c) * dm * y_at(row, c);
    }
    let pull = team_sum(total(along), lane) * r;
    if place >= ROWS {
        return;
    }
    for (var c = member; c < width; c += TEAM) {
        let s = strength(c);
        let dm = q * (dz_at(row, c) - turn * known_z_at(row, c));
        dx[row * WIDTH + c] = (1.0 - s) * dm;
        dy[row * WIDTH + c] = ${narrow}(r * (s * dm - y_at(row, c) * (r * pull)));
    }
    if member == 0u {
        turns[row] = turn;
    }
}

const COLUMN_LANES = ${lanes}u;

// A lane sums one vector of columns over one block of rows.
@compute @workgroup_size(COLUMN_LANES)
fn strength_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * COLUMN_LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let column = place % WIDTH;
    let start = place / WIDTH * ROWS_EACH;
    var sum = vec4(0.0);
    for (var row = start; row < min(start + ROWS_EACH, ROWS); row++) {
        let r = known_lengths[row].x;
        let q = known_lengths[row].y;
        let dm = q * (dz_at(row, column) - known_turns[row] * known_z_at(row, column));
        sum += dm * (y_at(row, column) * r - x_at(row, column));
    }
    parts[place] = sum;
}

// A lane adds up the blocks of one vector of columns.
@compute @workgroup_size(COLUMN_LANES)
fn strength_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (group.x + group.y * groups.x) * COLUMN_LANES + lane;
    if column >= WIDTH {
        return;
    }
    var sum = vec4(0.0);
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[block * WIDTH + column];
    }
    sum *= abs(SCALE) * sign(a[column]);
    if ACCUMULATE {
        sum += da[column];
    }
    da[column] = sum;
}
