// y = gamma tanh(lambda r x) over rows, and its adjoint, with r = 1 / (kappa sqrt(v + epsilon)). A team of lanes shares a row.
// The first site of a block computes v = mean(x^2). The second is given the first's v1, and takes v = v1 + k, where k is the
// first's lambda1^2 times what does not depend on it. With g = dy gamma (1 - tanh^2) and s = sum of g x over a row:
//   dx = lambda r g, and where v is computed (dv_in + dv) 2 x / width besides, with dv = -lambda s r^3 kappa^2 / 2;
//   dlambda += sum of s r over rows; dlambda1 += 2 k / lambda1 times the sum of dv; dgamma += sum of dy tanh over rows.
//# flags images: x, gamma, dy and addend are read as images
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# flags given: v comes from the first site
//# flags handed: the second site took v from here, and so there is a gradient of it
//# numbers lanes each: as in shared/walk.wgsl
//# numbers vector: elements of a Vector, 4 or 1
//# texts team: alone, subgroup or workgroup
//# texts stored: a Vector of y and dy
//# texts narrow: the function that makes it of a Vector
//# texts texel: the format of an image of dy
//# texts function: `value` and `derivative` of tanh
//# import shared/narrow
//# import shared/vector$vector
//# import shared/team_$team

override ROWS: u32;
override WIDTH: u32; // vectors of a row
override COLUMNS: u32; // elements of a row
override EPSILON: f32;
override INVERSE: f32; // 1 / kappa
override TEAM_LANES: u32; // lanes per workgroup of kernels with teams
override BLOCKS: u32; // pieces of rows for the column sums
override BLOCK_ROWS: u32; // rows per piece

//# import shared/within

//# insert function

//# if addend
//# import shared/operand with name = addend, slot = 14, of = Vector, texel = rgba32float // [ROWS, WIDTH], what dx is added to
//# end
//# import shared/operand with name = x, slot = 0, of = Vector, texel = rgba32float // [ROWS, WIDTH]
//# import shared/operand with name = gamma, slot = 1, of = Vector, texel = rgba32float // [WIDTH]
//# import shared/operand with name = dy, slot = 8, of = $stored // [ROWS, WIDTH]
@group(0) @binding(2) var<storage, read> lambda: array<f32>; // [1]
@group(0) @binding(3) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(4) var<storage, read_write> variance: array<f32>; // [ROWS]
@group(0) @binding(5) var<storage, read> known: array<f32>; // [ROWS]: v, or v1
@group(0) @binding(6) var<storage, read> added: array<f32>; // [1]: k
@group(0) @binding(7) var<storage, read> first_lambda: array<f32>; // [1]
@group(0) @binding(9) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(10) var<storage, read_write> along: array<vec2<f32>>; // [ROWS]: r and s
@group(0) @binding(11) var<storage, read> known_along: array<vec2<f32>>; // [ROWS]
@group(0) @binding(12) var<storage, read_write> d_variance: array<f32>; // [ROWS]: dv
@group(0) @binding(13) var<storage, read> handed_gradient: array<f32>; // [ROWS]: dv of the second site
@group(0) @binding(15) var<storage, read_write> gamma_parts: array<Vector>; // [BLOCKS, WIDTH]
@group(0) @binding(16) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]
@group(0) @binding(17) var<storage, read_write> d_lambda: array<f32>; // [1]
@group(0) @binding(18) var<storage, read_write> d_first_lambda: array<f32>; // [1]

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

// r for a v of that row, before k is added.
fn scale(v: f32) -> f32 {
    //# if given
    return INVERSE / sqrt(v + added[0] + EPSILON);
    //# else
    return INVERSE / sqrt(v + EPSILON);
    //# end
}

// The gradient of v from r and s of its row.
fn pull(row: vec2<f32>) -> f32 {
    let ratio = row.x / INVERSE;
    return -0.5 * lambda[0] * row.y * row.x * ratio * ratio;
}

//# import shared/walk

@compute @workgroup_size(TEAM_LANES)
fn bhyt(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    //# if given
    let v = known[row];
    //# else
    var squares = Vector();
    for (var c = member; c < WIDTH; c += TEAM) {
        let e = x_at(row, c);
        squares += e * e;
    }
    let v = team_sum(total(squares), lane) / f32(COLUMNS);
    //# end
    if place >= ROWS {
        return;
    }
    let factor = lambda[0] * scale(v);
    for (var c = member; c < WIDTH; c += TEAM) {
        y[row * WIDTH + c] = ${narrow}(gamma_at(c) * value(factor * x_at(row, c)));
    }
    //# if given
    //# else
    if member == 0u {
        variance[row] = v;
    }
    //# end
}

@compute @workgroup_size(TEAM_LANES)
fn bhyt_along(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = ((group.x + group.y * groups.x) * TEAM_LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let r = scale(known[row]);
    let factor = lambda[0] * r;
    var sum = Vector();
    for (var c = member; c < WIDTH; c += TEAM) {
        let e = x_at(row, c);
        sum += dy_at(row, c) * gamma_at(c) * derivative(factor * e) * e;
    }
    let s = team_sum(total(sum), lane);
    if place < ROWS && member == 0u {
        along[row] = vec2(r, s);
        //# if given
        d_variance[row] = pull(vec2(r, s));
        //# end
    }
}

@compute @workgroup_size(LANES)
fn bhyt_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let row = i / WIDTH;
            let column = i - row * WIDTH;
            let own = known_along[row];
            let factor = lambda[0] * own.x;
            let e = x_at(row, column);
            let g = dy_at(row, column) * gamma_at(column) * derivative(factor * e);
            var by_variance = 0.0;
            //# if given
            //# else
            by_variance = pull(own);
            //# end
            //# if handed
            by_variance += handed_gradient[row];
            //# end
            dx[i] = addend_at(row, column) + (factor * g + (2.0 / f32(COLUMNS)) * by_variance * e);
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
    for (var row = start; row < end; row++) {
        let factor = lambda[0] * known_along[row].x;
        gamma_part += dy_at(row, column) * value(factor * x_at(row, column));
    }
    gamma_parts[place] = gamma_part;
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
    for (var block = 0u; block < BLOCKS; block++) {
        gamma_sum += gamma_parts[block * WIDTH + column];
    }
    dgamma[column] += gamma_sum;
}

// One team adds up the rows.
@compute @workgroup_size(TEAM_LANES)
fn lambda_totals(@builtin(local_invocation_index) lane: u32) {
    var own = 0.0;
    var other = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        let along = known_along[row];
        own += along.x * along.y;
        //# if given
        other += pull(along);
        //# end
    }
    let whole = team_sum(own, lane);
    let whole_other = team_sum(other, lane);
    if lane == 0u {
        d_lambda[0] += whole;
        //# if given
        d_first_lambda[0] += 2.0 * added[0] / first_lambda[0] * whole_other;
        //# end
    }
}
