// y = x * gamma * s + beta with one s for each column of the rows x, from the mean squares of the columns by a rule; and what stands
// for its adjoint: dx = p * dy - q * x, with p and q from the sums of dy * x and dy over the rows of each column. The rules are
// PowerNorm's and that of Unified Normalization; both keep running numbers.
//# flags addend: dx is added to something
//# flags half: y and dy are f16
//# flags unified: the rule is that of Unified Normalization
//# numbers lanes each: as in shared/walk.wgsl
//# numbers vector: elements of a Vector, 4 or 1
//# texts stored: a Vector of y and dy
//# texts narrow: the function that makes it of a Vector
//# import shared/narrow
//# import shared/vector$vector

override ROWS: u32;
override WIDTH: u32; // vectors of a row
override BLOCKS: u32; // pieces of rows for the column sums
override BLOCK_ROWS: u32; // rows per piece
override EPSILON: f32;

@group(0) @binding(0) var<storage, read> x: array<Vector>; // [ROWS, WIDTH]
@group(0) @binding(1) var<storage, read> gamma: array<Vector>; // [WIDTH]
@group(0) @binding(2) var<storage, read> beta: array<Vector>; // [WIDTH]
@group(0) @binding(3) var<storage, read> known_numbers: array<Vector>; // [3, WIDTH]: s, r and the s of the backward pass
@group(0) @binding(4) var<storage, read_write> y: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(5) var<storage, read> dy: array<$stored>; // [ROWS, WIDTH]
@group(0) @binding(6) var<storage, read> known_coefficients: array<Vector>; // [2, WIDTH]: p and q
@group(0) @binding(7) var<storage, read_write> dx: array<Vector>; // [ROWS, WIDTH]
//# if addend
@group(0) @binding(8) var<storage, read> addend: array<Vector>; // [ROWS, WIDTH], what dx is added to
//# end
@group(0) @binding(9) var<storage, read_write> parts: array<Vector>; // [2, BLOCKS, WIDTH]
@group(0) @binding(10) var<storage, read_write> squares: array<Vector>; // [WIDTH]: means
@group(0) @binding(11) var<storage, read_write> products: array<Vector>; // [3, WIDTH]: sums of dy * x and of dy, and gamma
@group(0) @binding(12) var<storage, read> known_squares: array<Vector>; // [WIDTH]
@group(0) @binding(13) var<storage, read> known_products: array<Vector>; // [3, WIDTH]
@group(0) @binding(14) var<storage, read> schedule: array<f32>; // [4]
@group(0) @binding(15) var<storage, read_write> numbers: array<Vector>; // [3, WIDTH]
@group(0) @binding(16) var<storage, read_write> coefficients: array<Vector>; // [2, WIDTH]
@group(0) @binding(17) var<storage, read_write> running: array<Vector>; // [WIDTH]
@group(0) @binding(18) var<storage, read_write> drift: array<Vector>; // [WIDTH]
@group(0) @binding(19) var<storage, read_write> window: array<Vector>; // [4, WIDTH]
@group(0) @binding(20) var<storage, read_write> dgamma: array<Vector>; // [WIDTH]
@group(0) @binding(21) var<storage, read_write> dbeta: array<Vector>; // [WIDTH]
@group(0) @binding(22) var<storage, read> held: array<Vector>; // [WIDTH]: the running mean squares

const SHARE = 0.1; // how fast running numbers move

//# import shared/walk

@compute @workgroup_size(LANES)
fn normalize(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * WIDTH {
            let column = i % WIDTH;
            y[i] = ${narrow}(x[i] * (known_numbers[column] * gamma[column]) + beta[column]);
        }
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
            let column = i % WIDTH;
            let own = known_coefficients[column] * Vector(dy[i]) - known_coefficients[WIDTH + column] * x[i];
            //# if addend
            dx[i] = addend[i] + own;
            //# else
            dx[i] = own;
            //# end
        }
    }
}

// One lane sums one vector of columns over one piece of the rows.
@compute @workgroup_size(LANES)
fn square_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let start = place / WIDTH * BLOCK_ROWS;
    let end = min(start + BLOCK_ROWS, ROWS);
    var sum = Vector();
    for (var row = start; row < end; row++) {
        let v = x[row * WIDTH + place % WIDTH];
        sum += v * v;
    }
    parts[place] = sum;
}

// One lane adds up the pieces of one vector of columns, always in the same order.
@compute @workgroup_size(LANES)
fn square_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    var sum = Vector();
    for (var block = 0u; block < BLOCKS; block++) {
        sum += parts[block * WIDTH + column];
    }
    squares[column] = sum / Vector(f32(ROWS));
}

@compute @workgroup_size(LANES)
fn product_parts(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= BLOCKS * WIDTH {
        return;
    }
    let start = place / WIDTH * BLOCK_ROWS;
    let end = min(start + BLOCK_ROWS, ROWS);
    var product = Vector();
    var sum = Vector();
    for (var row = start; row < end; row++) {
        let d = Vector(dy[row * WIDTH + place % WIDTH]);
        product += d * x[row * WIDTH + place % WIDTH];
        sum += d;
    }
    parts[place] = product;
    parts[BLOCKS * WIDTH + place] = sum;
}

@compute @workgroup_size(LANES)
fn product_totals(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    var product = Vector();
    var sum = Vector();
    for (var block = 0u; block < BLOCKS; block++) {
        product += parts[block * WIDTH + column];
        sum += parts[(BLOCKS + block) * WIDTH + column];
    }
    products[column] = product;
    products[WIDTH + column] = sum;
    products[2u * WIDTH + column] = gamma[column];
}

// s of a mean square.
fn scale(square: Vector) -> Vector {
    return Vector(1.0) / sqrt(square + Vector(EPSILON));
}

fn write_numbers(column: u32, s: Vector, r: Vector, back: Vector) {
    numbers[column] = s;
    numbers[WIDTH + column] = r;
    numbers[2u * WIDTH + column] = back;
}

@compute @workgroup_size(LANES)
fn rule_forward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    let v = known_squares[column];
    let before = running[column];
    let own = schedule[0] > 0.0;
    //# if unified
    window[u32(schedule[2]) * WIDTH + column] = v;
    let left = sqrt(window[column] * window[WIDTH + column]);
    let right = sqrt(window[2u * WIDTH + column] * window[3u * WIDTH + column]);
    let square = select(sqrt(left * right), v, own);
    let s = scale(square);
    let grown = sqrt((square + Vector(EPSILON)) / (before + Vector(EPSILON)));
    let r = clamp(grown, Vector(0.2), Vector(5.0));
    running[column] = before + SHARE * (square - before);
    write_numbers(column, s, select(Vector(1.0), r, schedule[3] > 0.0), s);
    //# else
    let mean = before + schedule[1] * (v - before);
    running[column] = mean + SHARE * (v - mean);
    write_numbers(column, scale(select(before, v, own)), Vector(1.0), scale(v));
    //# end
}

@compute @workgroup_size(LANES)
fn rule_held(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    let s = scale(held[column]);
    write_numbers(column, s, Vector(1.0), s);
}

@compute @workgroup_size(LANES)
fn rule_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = group.x * LANES + lane;
    if column >= WIDTH {
        return;
    }
    let s = known_numbers[column];
    let r = known_numbers[WIDTH + column];
    let back = known_numbers[2u * WIDTH + column];
    let gain = known_products[2u * WIDTH + column];
    let of_gain = r * s * known_products[column];
    let mean = gain * of_gain / Vector(f32(ROWS));
    //# if unified
    window[u32(schedule[2]) * WIDTH + column] = mean;
    let all = (window[column] + window[WIDTH + column]) + (window[2u * WIDTH + column] + window[3u * WIDTH + column]);
    let k = drift[column] + SHARE * (select(all / Vector(4.0), mean, schedule[0] > 0.0) - drift[column]);
    drift[column] = k;
    //# else
    let k = SHARE * drift[column];
    drift[column] += mean - k * s * s * known_squares[column];
    //# end
    coefficients[column] = gain * r * back;
    coefficients[WIDTH + column] = k * s * back;
    dgamma[column] += of_gain;
    dbeta[column] += known_products[WIDTH + column];
}
