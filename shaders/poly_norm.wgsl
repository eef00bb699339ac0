// y = w1 N(x) + w2 N(x^2) + w3 N(x^3) + b over rows, N(v) = v/sqrt(mean v^2 + epsilon), and its adjoint. A team takes a row.
//# flags images: x and dy are read as images
//# flags half: x, y and their gradients are f16
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vec4s of a row
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [ROWS, WIDTH]
//# import shared/operand with name = dy, slot = 5, of = vec4<$element> // [ROWS, WIDTH]
@group(0) @binding(1) var<storage, read> w: array<f32>; // [3]
@group(0) @binding(2) var<storage, read> b: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> y: array<vec4<$element>>; // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read_write> r: array<vec4<f32>>; // [ROWS]: a factor for each power
@group(0) @binding(6) var<storage, read> known_r: array<vec4<f32>>; // [ROWS]
@group(0) @binding(7) var<storage, read_write> dx: array<vec4<$element>>; // [ROWS, WIDTH]
@group(0) @binding(8) var<storage, read_write> parts: array<vec4<f32>>; // [ROWS]: of dw, and of db
@group(0) @binding(9) var<storage, read_write> dw: array<f32>; // [3]
@group(0) @binding(10) var<storage, read_write> db: array<f32>; // [1]

//# import shared/row_at with name = x, of = vec4<f32>
//# import shared/row_at with name = dy, of = vec4<f32>

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

@compute @workgroup_size(LANES)
fn poly_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    var s1 = vec4(0.0);
    var s2 = vec4(0.0);
    var s3 = vec4(0.0);
    for (var c = member; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        let square = v * v;
        s1 += square;
        s2 += square * square;
        s3 += (square * v) * (square * v);
    }
    let n = f32(4u * WIDTH);
    let m1 = team_sum(total(s1), lane) / n;
    let m2 = team_sum(total(s2), lane) / n;
    let m3 = team_sum(total(s3), lane) / n;
    let factors = 1.0 / sqrt(vec3(m1, m2, m3) + 1e-6);
    if place >= ROWS {
        return;
    }
    let f = factors * vec3(w[0], w[1], w[2]);
    for (var c = member; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        y[row * WIDTH + c] = ${narrow}(b[0] + v * (f.x + v * (f.y + v * f.z)));
    }
    if member == 0u {
        r[row] = vec4(factors, 0.0);
    }
}

@compute @workgroup_size(LANES)
fn poly_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    var s0 = vec4(0.0);
    var s1 = vec4(0.0);
    var s2 = vec4(0.0);
    var s3 = vec4(0.0);
    for (var c = member; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        let d = dy_at(row, c);
        s0 += d;
        s1 += d * v;
        s2 += d * (v * v);
        s3 += d * (v * v * v);
    }
    let factors = known_r[row].xyz;
    let t0 = team_sum(total(s0), lane);
    let t1 = team_sum(total(s1), lane);
    let t2 = team_sum(total(s2), lane);
    let t3 = team_sum(total(s3), lane);
    let along = vec3(t1, t2, t3) * factors;
    if place >= ROWS {
        return;
    }
    let pull = factors * along / f32(4u * WIDTH);
    let scale = factors * vec3(w[0], 2.0 * w[1], 3.0 * w[2]);
    for (var c = member; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        let d = dy_at(row, c);
        let square = v * v;
        let first = scale.x * (d - v * pull.x);
        let second = scale.y * v * (d - square * pull.y);
        let third = scale.z * square * (d - square * v * pull.z);
        dx[row * WIDTH + c] = ${narrow}(first + second + third);
    }
    if member == 0u {
        parts[row] = vec4(along, t0);
    }
}

// One team adds up the rows, always in the same order.
@compute @workgroup_size(LANES)
fn poly_norm_total(@builtin(local_invocation_index) lane: u32) {
    var sums = vec4(0.0);
    for (var row = lane; row < ROWS; row += TEAM) {
        sums += parts[row];
    }
    let s0 = team_sum(sums.x, lane);
    let s1 = team_sum(sums.y, lane);
    let s2 = team_sum(sums.z, lane);
    let s3 = team_sum(sums.w, lane);
    if lane == 0u {
        dw[0] += s0;
        dw[1] += s1;
        dw[2] += s2;
        db[0] += s3;
    }
}
