// y = (t alpha + gamma) xhat over rows, with xhat = x r, r = 1 / sqrt(mean(x^2) + epsilon) and t = tanh(x . b), and its adjoint.
// With h = dy (t alpha + gamma), m = mean(h xhat) and q = (1 - t^2) times the sum of dy alpha xhat over the row:
//   dx = r (h - xhat m) + q b,  dgamma += sum of dy xhat, dalpha += sum of t dy xhat, db += sum of q x, over rows.
//# flags images: x, dy and addend are read as images; more would be too many for some devices
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# numbers lanes each: as in shared/walk.wgsl
//# numbers vector: elements of a Vector, 4 or 1
//# texts team: alone, subgroup or workgroup
//# texts stored: a Vector of y and dy
//# texts narrow: the function that makes it of a Vector
//# texts texel: the format of an image of dy
//# import shared/narrow
//# import shared/vector$vector
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vectors of a row
override COLUMNS: u32; // elements of a row
override EPSILON: f32;
override TEAM_LANES: u32; // lanes per workgroup of kernels with teams
override BLOCKS: u32; // pieces of rows for the column sums
override BLOCK_ROWS: u32; // rows per piece

//# if addend
//# import shared/operand with name = addend, slot = 14, of = Vector, texel = rgba32float // [ROWS, WIDTH], what dx is added to
//# end
//# import shared/operand with name = x, slot = 0, of = Vector, texel = rgba32float // [ROWS, WIDTH]
@group(0) @binding(1) var<storage, read> gamma: array<Vector>; // [WIDTH]
@group(0) @binding(2) var<storage, read> alpha: array<Vector>; // [WIDTH]
@group(0) @binding(3) var<storage, read> beta: array<Vector>; // [WIDTH]: b
//# import shared/operand with name = dy, slot = 8, of = $stored // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(5) var<storage, read_write> numbers: array<vec2<f32>>; // [ROWS]: r and t
@group(0) @binding(6) var<storage, read> known: array<vec2<f32>>; // [ROWS]
@group(0) @binding(7) var<storage, read_write> along: array<vec4<f32>>; // [ROWS]: r, t, m and q
@group(0) @binding(9) var<storage, read> known_along: array<vec4<f32>>; // [ROWS]
@group(0) @binding(10) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(11) var<storage, read_write> parts: array<Vector>; // [3, BLOCKS, WIDTH]
@group(0) @binding(12) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]
@group(0) @binding(13) var<storage, read_write> dalpha: array<Vector>; // [WIDTH]
@group(0) @binding(15) var<storage, read_write> dbeta: array<Vector>; // [WIDTH]

//# import shared/row_at with name = x, of = Vector
//# import shared/row_at with name = dy, of = Vector

// The gradient that reaches the residual stream past this norm; dx is added to it.
//# if addend
//# import shared/row_at with name = addend, of = Vector
//# else
fn addend_at(row: u32, column: u32) -> Vector {
    return Vector();
}
//# end

fn gamma_at(column: u32) -> Vector {
    return gamma[column];
}

fn alpha_at(column: u32) -> Vector {
    return alpha[column];
}

fn beta_at(column: u32) -> Vector {
    return beta[column];
}

// tanh of a number: near zero a series, because 1 - e^(-2|u|) would have no digits there.
fn tanh_of(u: f32) -> f32 {
    let z = u * u;
    let near = u * (1.0 - z * (1.0 / 3.0 - z * (2.0 / 15.0 - z * (17.0 / 315.0))));
    let e = exp(-2.0 * min(abs(u), 40.0));
    let far = (1.0 - e) / (1.0 + e);
    return select(near, select(far, -far, u < 0.0), abs(u) >= 0.2);
}

//# import shared/walk

@compute @workgroup_size(TEAM_LANES)
fn seed_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    var squares = Vector();
    var product = Vector();
    for (var c = member; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        squares += v * v;
        product += v * beta_at(c);
    }
    let r = 1.0 / sqrt(team_sum(total(squares), lane) / f32(COLUMNS) + EPSILON);
    let t = tanh_of(team_sum(total(product), lane));
    if place >= ROWS {
        return;
    }
    for (var c = member; c < WIDTH; c += TEAM) {
        y[row * WIDTH + c] = ${narrow}((t * alpha_at(c) + gamma_at(c)) * (x_at(row, c) * r));
    }
    if member == 0u {
        numbers[row] = vec2(r, t);
    }
}

@compute @workgroup_size(TEAM_LANES)
fn seed_norm_along(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let own = known[row];
    var mean = Vector();
    var pull = Vector();
    for (var c = member; c < WIDTH; c += TEAM) {
        let d = dy_at(row, c) * (x_at(row, c) * own.x);
        mean += d * (own.y * alpha_at(c) + gamma_at(c));
        pull += d * alpha_at(c);
    }
    let m = team_sum(total(mean), lane) / f32(COLUMNS);
    let q = team_sum(total(pull), lane) * (1.0 - own.y * own.y);
    if place < ROWS && member == 0u {
        along[row] = vec4(own, m, q);
    }
}

@compute @workgroup_size(LANES)
fn seed_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let row = i / WIDTH;
            let c = i - row * WIDTH;
            let own = known_along[row];
            let h = dy_at(row, c) * (own.y * alpha_at(c) + gamma_at(c));
            let xhat = x_at(row, c) * own.x;
            dx[i] = addend_at(row, c) + (own.x * (h - xhat * own.z) + own.w * beta_at(c));
        }
    }
}

// One lane sums one vector of columns over one piece of the rows.
@compute @workgroup_size(LANES)
fn column_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let column = place % WIDTH;
    let start = place / WIDTH * BLOCK_ROWS;
    let end = min(start + BLOCK_ROWS, ROWS);
    var gamma_part = Vector();
    var alpha_part = Vector();
    var beta_part = Vector();
    for (var row = start; row < end; row++) {
        let own = known_along[row];
        let v = x_at(row, column);
        let d = dy_at(row, column) * (v * own.x);
        gamma_part += d;
        alpha_part += own.y * d;
        beta_part += own.w * v;
    }
    parts[place] = gamma_part;
    parts[BLOCKS * WIDTH + place] = alpha_part;
    parts[2u * BLOCKS * WIDTH + place] = beta_part;
}

// One lane adds up the pieces of one vector of columns, always in the same order.
@compute @workgroup_size(LANES)
fn column_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    var gamma_sum = Vector();
    var alpha_sum = Vector();
    var beta_sum = Vector();
    for (var block = 0u; block < BLOCKS; block++) {
        let place = block * WIDTH + column;
        gamma_sum += parts[place];
        alpha_sum += parts[BLOCKS * WIDTH + place];
        beta_sum += parts[2u * BLOCKS * WIDTH + place];
    }
    dgamma[column] += gamma_sum;
    dalpha[column] += alpha_sum;
    dbeta[column] += beta_sum;
}
