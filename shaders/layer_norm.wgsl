// y = (x - mean) * rstd * gamma + beta over rows, and its adjoint. A team of lanes shares a row.
// With xhat = (x - mean) * rstd and g = dy * gamma:
//   dx = rstd * (g - mean(g) - xhat * mean(g * xhat)),  dgamma += sum of dy * xhat,  dbeta += sum of dy, over rows.
// Tapered with a gate t and a scale c, the factor of x - mean is w = t rstd + (1 - t) c in place of rstd:
//   dx = w * (g - mean(g)) - t * rstd * xhat * mean(g * xhat).
//# flags images: x, gamma, beta, dy and addend are read as images
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# flags tapered: there is a gate
//# numbers lanes: of a workgroup of the column sums
//# numbers keep: the vectors of a row that a lane holds in registers
//# numbers vector: elements of a Vector, 4 or 1
//# texts team: alone, subgroup or workgroup
//# texts stored: a Vector of y and dy
//# texts narrow: the function that makes it of a Vector
//# texts texel: the format of an image of dy
//# import shared/narrow
// A constant, because an override cannot size arrays in functions.
const KEEP = ${keep}u;
//# import shared/vector$vector
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vectors of a row
override COLUMNS: u32; // elements of a row
override EPSILON: f32;
override LANES: u32; // lanes per workgroup: one team, or teams of one lane each
override FITS: bool; // whether every lane has exactly KEEP vectors of a row
override BLOCKS: u32; // pieces of rows for the column sums
override BLOCK_ROWS: u32; // rows per piece

//# if addend
//# import shared/operand with name = addend, slot = 14, of = Vector, texel = rgba32float // [ROWS, WIDTH], what dx is added to
//# end
//# import shared/operand with name = x, slot = 0, of = Vector, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = gamma, slot = 1, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = beta, slot = 2, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = dy, slot = 8, of = $stored // [ROWS, WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read_write> mean: array<f32>; // [ROWS]
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>; // [ROWS]

@group(0) @binding(6) var<storage, read> known_mean: array<f32>; // [ROWS]
@group(0) @binding(7) var<storage, read> known_rstd: array<f32>; // [ROWS]
@group(0) @binding(9) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(10) var<storage, read_write> gamma_parts: array<Vector>; // [BLOCKS, WIDTH]
@group(0) @binding(11) var<storage, read_write> beta_parts: array<Vector>; // [BLOCKS, WIDTH]
@group(0) @binding(12) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]
@group(0) @binding(13) var<storage, read_write> dbeta: array<Vector>; // [WIDTH]
@group(0) @binding(15) var<storage, read> taper: array<f32>; // [2]: t and c

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

//# import shared/column_at with name = gamma
//# import shared/column_at with name = beta

// The factor of x - mean in a row.
fn factor(r: f32) -> f32 {
    //# if tapered
    return taper[0] * r + (1.0 - taper[0]) * taper[1];
    //# else
    return r;
    //# end
}

// dx from g and xhat, the mean of g, and that of g * xhat.
fn gradient(g: Vector, xhat: Vector, a: f32, b: f32, r: f32) -> Vector {
    //# if tapered
    return (g - Vector(a)) * factor(r) - xhat * (taper[0] * r * b);
    //# else
    return (g - Vector(a) - xhat * b) * r;
    //# end
}

@compute @workgroup_size(LANES)
fn layer_norm(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let first = row * WIDTH;

    // The first KEEP vectors of each lane stay in registers; the others of a wide row are read again.
    var kept: array<Vector, KEEP>;
    var sum = Vector();
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        kept[n] = Vector();
        if FITS || c < WIDTH {
            kept[n] = x_at(row, c);
        }
        sum += kept[n];
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        sum += x_at(row, c);
    }
    let mu = team_sum(total(sum), lane) / f32(COLUMNS);

    // Around the mean, not as a difference of squares, which would cancel if |mean| is large.
    var squares = Vector();
    for (var n = 0u; n < KEEP; n++) {
        kept[n] -= Vector(mu);
        if FITS || member + n * TEAM < WIDTH {
            squares += kept[n] * kept[n];
        }
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        let e = x_at(row, c) - Vector(mu);
        squares += e * e;
    }
    let r = 1.0 / sqrt(team_sum(total(squares), lane) / f32(COLUMNS) + EPSILON);

    if place >= ROWS {
        return;
    }
    let w = factor(r);
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        if FITS || c < WIDTH {
            y[first + c] = ${narrow}(kept[n] * w * gamma_at(c) + beta_at(c));
        }
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        y[first + c] = ${narrow}((x_at(row, c) - Vector(mu)) * w * gamma_at(c) + beta_at(c));
    }
    if member == 0u {
        mean[row] = mu;
        rstd[row] = r;
    }
}

@compute @workgroup_size(LANES)
fn layer_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let first = row * WIDTH;
    let mu = known_mean[row];
    let r = known_rstd[row];

    var kept_g: array<Vector, KEEP>;
    var kept_xhat: array<Vector, KEEP>;
    var g_sum = Vector();
    var along = Vector();
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        kept_g[n] = Vector();
        kept_xhat[n] = Vector();
        if FITS || c < WIDTH {
            kept_g[n] = dy_at(row, c) * gamma_at(c);
            kept_xhat[n] = (x_at(row, c) - Vector(mu)) * r;
        }
        g_sum += kept_g[n];
        along += kept_g[n] * kept_xhat[n];
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        let g = dy_at(row, c) * gamma_at(c);
        g_sum += g;
        along += g * ((x_at(row, c) - Vector(mu)) * r);
    }
    let a = team_sum(total(g_sum), lane) / f32(COLUMNS);
    let b = team_sum(total(along), lane) / f32(COLUMNS);

    if place >= ROWS {
        return;
    }
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        if FITS || c < WIDTH {
            dx[first + c] = addend_at(row, c) + gradient(kept_g[n], kept_xhat[n], a, b, r);
        }
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        let xhat = (x_at(row, c) - Vector(mu)) * r;
        dx[first + c] = addend_at(row, c) + gradient(dy_at(row, c) * gamma_at(c), xhat, a, b, r);
    }
}

const COLUMN_LANES = ${lanes}u;

// One lane sums one vector of columns over one piece of the rows.
@compute @workgroup_size(COLUMN_LANES)
fn column_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * COLUMN_LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let column = place % WIDTH;
    let start = place / WIDTH * BLOCK_ROWS;
    let end = min(start + BLOCK_ROWS, ROWS);
    var gamma_part = Vector();
    var beta_part = Vector();
    for (var row = start; row < end; row++) {
        let d = dy_at(row, column);
        gamma_part += d * ((x_at(row, column) - Vector(known_mean[row])) * factor(known_rstd[row]));
        beta_part += d;
    }
    gamma_parts[place] = gamma_part;
    beta_parts[place] = beta_part;
}

// One lane adds up the pieces of one vector of columns, always in the same order.
@compute @workgroup_size(COLUMN_LANES)
fn column_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * COLUMN_LANES + lane;
    if column >= WIDTH {
        return;
    }
    var gamma_sum = Vector();
    var beta_sum = Vector();
    for (var block = 0u; block < BLOCKS; block++) {
        gamma_sum += gamma_parts[block * WIDTH + column];
        beta_sum += beta_parts[block * WIDTH + column];
    }
    dgamma[column] += gamma_sum;
    dbeta[column] += beta_sum;
}
