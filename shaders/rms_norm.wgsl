// y = x * r * gamma over rows, r = 1 / sqrt(mean(x^2) + epsilon), and its adjoint. A team of lanes shares a row.
// With xhat = x * r and g = dy * gamma:  dx = r * (g - xhat * mean(g * xhat)),  dgamma += sum of dy * xhat over rows.
// Compressed, r = 1 / sqrt((sum of x^2 + S^2) / (COLUMNS + 1) + epsilon) with S the sum of x, and in dx (x + S) r is in place of xhat.
// Tapered with a gate t and a scale c, the factor of x is w = t r + (1 - t) c in place of r:  dx = w g - t r xhat mean(g xhat).
//# flags images: x, gamma, dy and addend are read as images
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# flags tapered: there is a gate
//# flags compressed: a last element, minus the sum of the others, is left out of each row
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
//# import shared/operand with name = addend, slot = 10, of = Vector, texel = rgba32float // [ROWS, WIDTH], what dx is added to
//# end
//# import shared/operand with name = x, slot = 0, of = Vector, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = gamma, slot = 1, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = dy, slot = 5, of = $stored // [ROWS, WIDTH]
@group(0) @binding(2) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(3) var<storage, read_write> rstd: array<f32>; // [ROWS]: r
@group(0) @binding(4) var<storage, read> known_rstd: array<f32>; // [ROWS]
@group(0) @binding(9) var<storage, read> taper: array<f32>; // [2]: t and c
@group(0) @binding(6) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(7) var<storage, read_write> gamma_parts: array<Vector>; // [BLOCKS, WIDTH]
@group(0) @binding(8) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]

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

// The mean square of a row from the sums over it.
fn mean_square(squares: f32, sum: f32) -> f32 {
    //# if compressed
    return (squares + sum * sum) / f32(COLUMNS + 1u);
    //# else
    return squares / f32(COLUMNS);
    //# end
}

// The sum of a row, where that is needed.
fn row_sum(row: u32, member: u32, lane: u32) -> f32 {
    //# if compressed
    var sum = Vector();
    for (var c = member; c < WIDTH; c += TEAM) {
        sum += x_at(row, c);
    }
    return team_sum(total(sum), lane);
    //# else
    return 0.0;
    //# end
}

// The factor of x in a row.
fn factor(r: f32) -> f32 {
    //# if tapered
    return taper[0] * r + (1.0 - taper[0]) * taper[1];
    //# else
    return r;
    //# end
}

@compute @workgroup_size(LANES)
fn rms_norm(
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
    var squares = Vector();
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        kept[n] = Vector();
        if FITS || c < WIDTH {
            kept[n] = x_at(row, c);
        }
        squares += kept[n] * kept[n];
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        let v = x_at(row, c);
        squares += v * v;
    }
    let whole = row_sum(row, member, lane);
    let r = 1.0 / sqrt(mean_square(team_sum(total(squares), lane), whole) + EPSILON);

    if place >= ROWS {
        return;
    }
    let w = factor(r);
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        if FITS || c < WIDTH {
            y[first + c] = ${narrow}(kept[n] * w * gamma_at(c));
        }
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        y[first + c] = ${narrow}(x_at(row, c) * w * gamma_at(c));
    }
    if member == 0u {
        rstd[row] = r;
    }
}

@compute @workgroup_size(LANES)
fn rms_norm_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let first = row * WIDTH;
    let r = known_rstd[row];

    var kept_g: array<Vector, KEEP>;
    var kept_xhat: array<Vector, KEEP>;
    var along = Vector();
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        kept_g[n] = Vector();
        kept_xhat[n] = Vector();
        if FITS || c < WIDTH {
            kept_g[n] = dy_at(row, c) * gamma_at(c);
            kept_xhat[n] = x_at(row, c) * r;
        }
        along += kept_g[n] * kept_xhat[n];
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        along += dy_at(row, c) * gamma_at(c) * (x_at(row, c) * r);
    }
    let whole = row_sum(row, member, lane);
    //# if compressed
    let b = team_sum(total(along), lane) / f32(COLUMNS + 1u);
    //# else
    let b = team_sum(total(along), lane) / f32(COLUMNS);
    //# end

    if place >= ROWS {
        return;
    }
    let w = factor(r);
    //# if tapered
    let back = taper[0] * r * b;
    //# else
    let back = r * b;
    //# end
    for (var n = 0u; n < KEEP; n++) {
        let c = member + n * TEAM;
        if FITS || c < WIDTH {
            dx[first + c] = addend_at(row, c) + (kept_g[n] * w - (kept_xhat[n] + Vector(whole * r)) * back);
        }
    }
    for (var c = member + KEEP * TEAM; c < WIDTH; c += TEAM) {
        let g = dy_at(row, c) * gamma_at(c);
        dx[first + c] = addend_at(row, c) + (g * w - (x_at(row, c) + Vector(whole)) * r * back);
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
    for (var row = start; row < end; row++) {
        gamma_part += dy_at(row, column) * (x_at(row, column) * factor(known_rstd[row]));
    }
    gamma_parts[place] = gamma_part;
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
    for (var block = 0u; block < BLOCKS; block++) {
        gamma_sum += gamma_parts[block * WIDTH + column];
    }
    dgamma[column] += gamma_sum;
}
