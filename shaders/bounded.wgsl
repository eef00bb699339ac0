// y = gamma f(u) + beta with u = alpha x + s, element by element, and its adjoint:
//   dx = alpha gamma dy f'(u),  dgamma += sum of dy f(u),  dbeta += sum of dy, over rows,
//   dalpha += sum of gamma dy f'(u) x,  ds += sum of gamma dy f'(u), over rows and columns.
//# flags images: x, gamma, beta, dy and addend are read as images
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# flags scaled: alpha is learned; without it, it is one
//# flags shifted: s is learned, besides alpha; without it, it is zero
//# flags inverse: what is given as alpha is b, and alpha = 1 / sqrt(b)
//# numbers lanes each: as in shared/walk.wgsl
//# numbers vector: elements of a Vector, 4 or 1
//# texts team: alone, subgroup or workgroup
//# texts stored: a Vector of y and dy
//# texts narrow: the function that makes it of a Vector
//# texts texel: the format of an image of dy
//# texts function: `value` and `derivative` of a Vector u
//# import shared/narrow
//# import shared/vector$vector
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vectors of a row
override BLOCKS: u32; // pieces of rows for the column sums
override BLOCK_ROWS: u32; // rows per piece
override TEAM_LANES: u32; // of the workgroup that adds up columns: one team

//# import shared/within

//# insert function

//# if addend
//# import shared/operand with name = addend, slot = 14, of = Vector, texel = rgba32float // [ROWS, WIDTH], what dx is added to
//# end
//# import shared/operand with name = x, slot = 0, of = Vector, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = gamma, slot = 1, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = beta, slot = 2, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = dy, slot = 8, of = $stored // [ROWS, WIDTH]
@group(0) @binding(3) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read> alpha: array<f32>; // [1]
@group(0) @binding(5) var<storage, read> shift: array<f32>; // [1]
@group(0) @binding(9) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(6) var<storage, read_write> parts: array<Vector>; // [SUMS, BLOCKS, WIDTH]
@group(0) @binding(10) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]
@group(0) @binding(11) var<storage, read_write> dbeta: array<Vector>; // [WIDTH]
@group(0) @binding(12) var<storage, read_write> columns: array<Vector>; // [2, WIDTH]: of alpha and s, over all pieces
@group(0) @binding(17) var<storage, read_write> d_alpha: array<f32>; // [1]
@group(0) @binding(18) var<storage, read_write> d_shift: array<f32>; // [1]

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

fn scale() -> f32 {
    //# if inverse
    return 1.0 / sqrt(alpha[0]);
    //# else
    //# if scaled
    return alpha[0];
    //# else
    return 1.0;
    //# end
    //# end
}

fn offset() -> f32 {
    //# if shifted
    return shift[0];
    //# else
    return 0.0;
    //# end
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn bounded(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let a = scale();
    let s = offset();
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let row = i / WIDTH;
            let column = i - row * WIDTH;
            y[i] = ${narrow}(gamma_at(column) * value(a * x_at(row, column) + Vector(s)) + beta_at(column));
        }
    }
}

@compute @workgroup_size(LANES)
fn bounded_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let a = scale();
    let s = offset();
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let row = i / WIDTH;
            let column = i - row * WIDTH;
            let slope = a * derivative(a * x_at(row, column) + Vector(s));
            dx[i] = addend_at(row, column) + slope * gamma_at(column) * dy_at(row, column);
        }
    }
}

// One lane sums one vector of columns over one piece of the rows.
@compute @workgroup_size(LANES)
fn bounded_parts(
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
    let a = scale();
    let s = offset();
    var gamma_part = Vector();
    var beta_part = Vector();
    var alpha_part = Vector();
    var shift_part = Vector();
    for (var row = start; row < end; row++) {
        let d = dy_at(row, column);
        let v = x_at(row, column);
        let u = a * v + Vector(s);
        gamma_part += d * value(u);
        beta_part += d;
        let slope = d * derivative(u);
        alpha_part += slope * v;
        shift_part += slope;
    }
    parts[place] = gamma_part;
    parts[BLOCKS * WIDTH + place] = beta_part;
    //# if scaled
    parts[2u * BLOCKS * WIDTH + place] = alpha_part * gamma_at(column);
    //# end
    //# if shifted
    parts[3u * BLOCKS * WIDTH + place] = shift_part * gamma_at(column);
    //# end
}

// One lane adds up the pieces of one vector of columns, always in the same order.
@compute @workgroup_size(LANES)
fn bounded_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    var gamma_sum = Vector();
    var beta_sum = Vector();
    var alpha_sum = Vector();
    var shift_sum = Vector();
    for (var block = 0u; block < BLOCKS; block++) {
        let place = block * WIDTH + column;
        gamma_sum += parts[place];
        beta_sum += parts[BLOCKS * WIDTH + place];
        //# if scaled
        alpha_sum += parts[2u * BLOCKS * WIDTH + place];
        //# end
        //# if shifted
        shift_sum += parts[3u * BLOCKS * WIDTH + place];
        //# end
    }
    dgamma[column] += gamma_sum;
    dbeta[column] += beta_sum;
    //# if scaled
    columns[column] = alpha_sum;
    //# end
    //# if shifted
    columns[WIDTH + column] = shift_sum;
    //# end
}

// One team adds up the columns.
@compute @workgroup_size(TEAM_LANES)
fn bounded_scalars(@builtin(local_invocation_index) lane: u32) {
    var alpha_sum = 0.0;
    var shift_sum = 0.0;
    for (var column = lane; column < WIDTH; column += TEAM) {
        //# if scaled
        alpha_sum += total(columns[column]);
        //# end
        //# if shifted
        shift_sum += total(columns[WIDTH + column]);
        //# end
    }
    let alpha_whole = team_sum(alpha_sum, lane);
    let shift_whole = team_sum(shift_sum, lane);
    if lane == 0u {
        //# if inverse
        let a = scale();
        d_alpha[0] -= 0.5 * a * a * a * alpha_whole;
        //# else
        //# if scaled
        d_alpha[0] += alpha_whole;
        //# end
        //# end
        //# if shifted
        d_shift[0] += shift_whole;
        //# end
    }
}
