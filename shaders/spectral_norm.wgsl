// A matrix divided by its largest singular value, times a learned gain, for each of PARTS matrices side by side; its adjoint; and the
// power iteration that finds the singular vector.
//# flags half: the scaled matrix is f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts team: alone, subgroup or workgroup
//# texts element: how the scaled matrix is stored
//# texts narrow: from f32 to that
//# import shared/narrow
//# import shared/team_$team

override ROWS: u32; // of w
override COLUMNS: u32; // of w: PARTS * WIDTH
override PARTS: u32; // matrices
override WIDTH: u32; // columns of one of them
override ROWS_EACH: u32; // rows of a block
override BLOCKS: u32;
override TEAM_LANES: u32; // lanes of a workgroup that is one team
override ACCUMULATE: bool;

const TINY = 1e-12; // keeps a matrix of zeros from being divided by zero

struct Verdict {
    norm: f32,
    clip: f32,
    open: f32,
    halted: f32,
}

@group(0) @binding(0) var<storage, read> w: array<f32>; // [ROWS, COLUMNS]
@group(0) @binding(1) var<storage, read> u: array<f32>; // [PARTS, ROWS]
@group(0) @binding(2) var<storage, read> gamma: array<f32>; // [PARTS]
@group(0) @binding(3) var<storage, read_write> shares: array<f32>; // [BLOCKS, COLUMNS]
@group(0) @binding(4) var<storage, read_write> sums: array<f32>; // [COLUMNS]
@group(0) @binding(5) var<storage, read_write> v: array<f32>; // [COLUMNS]
@group(0) @binding(6) var<storage, read_write> numbers: array<f32>; // [3, PARTS]: singular value, gain over it, gain
@group(0) @binding(7) var<storage, read_write> scaled: array<$element>; // [ROWS, COLUMNS]
@group(0) @binding(8) var<storage, read> gradient: array<f32>; // [ROWS, COLUMNS], of scaled
@group(0) @binding(9) var<storage, read> known_v: array<f32>; // [COLUMNS]
@group(0) @binding(10) var<storage, read> known_numbers: array<f32>; // [3, PARTS]
@group(0) @binding(11) var<storage, read_write> d_gamma: array<f32>; // [PARTS]
@group(0) @binding(12) var<storage, read_write> drift: array<f32>; // [PARTS]
@group(0) @binding(13) var<storage, read_write> dw: array<f32>; // [ROWS, COLUMNS]
@group(0) @binding(14) var<storage, read_write> image: array<f32>; // [PARTS, ROWS]
@group(0) @binding(15) var<storage, read_write> next: array<f32>; // [PARTS, ROWS]
@group(0) @binding(16) var<storage, read> known_next: array<f32>; // [PARTS, ROWS]
@group(0) @binding(17) var<storage, read_write> own_u: array<f32>; // [PARTS, ROWS]
@group(0) @binding(18) var<storage, read> verdict: array<Verdict>; // [1]

//# import shared/walk

// A lane sums u times one column of w, over the rows of block `group.y`.
@compute @workgroup_size(LANES)
fn project(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column < COLUMNS {
        let start = column / WIDTH * ROWS;
        let first = group.y * ROWS_EACH;
        var sum = 0.0;
        for (var row = first; row < min(first + ROWS_EACH, ROWS); row++) {
            sum += u[start + row] * w[row * COLUMNS + column];
        }
        shares[group.y * COLUMNS + column] = sum;
    }
}

// The same of the gradient times w.
@compute @workgroup_size(LANES)
fn products(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column < COLUMNS {
        let first = group.y * ROWS_EACH;
        var sum = 0.0;
        for (var row = first; row < min(first + ROWS_EACH, ROWS); row++) {
            sum += gradient[row * COLUMNS + column] * w[row * COLUMNS + column];
        }
        shares[group.y * COLUMNS + column] = sum;
    }
}

// Adds up the blocks.
@compute @workgroup_size(LANES)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column < COLUMNS {
        var sum = 0.0;
        for (var block = 0u; block < BLOCKS; block++) {
            sum += shares[block * COLUMNS + column];
        }
        sums[column] = sum;
    }
}

// A team takes one matrix: the length of its sums is its singular value.
@compute @workgroup_size(TEAM_LANES)
fn singular_value(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let part = group.x;
    var sum = 0.0;
    for (var column = lane; column < WIDTH; column += TEAM) {
        let t = sums[part * WIDTH + column];
        sum += t * t;
    }
    let sigma = max(sqrt(team_sum(sum, lane)), TINY);
    for (var column = lane; column < WIDTH; column += TEAM) {
        v[part * WIDTH + column] = sums[part * WIDTH + column] / sigma;
    }
    if lane == 0u {
        numbers[part] = sigma;
        numbers[PARTS + part] = gamma[part] / sigma;
        numbers[2u * PARTS + part] = gamma[part];
    }
}

@compute @workgroup_size(LANES)
fn scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ROWS * COLUMNS {
            scaled[i] = $narrow(numbers[PARTS + i % COLUMNS / WIDTH] * w[i]);
        }
    }
}

// A team takes one matrix: what the gain's gradient grows by.
@compute @workgroup_size(TEAM_LANES)
fn gains(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let part = group.x;
    var sum = 0.0;
    for (var column = lane; column < WIDTH; column += TEAM) {
        sum += sums[part * WIDTH + column];
    }
    let grown = team_sum(sum, lane) / known_numbers[part];
    if lane == 0u {
        drift[part] = grown;
        if ACCUMULATE {
            d_gamma[part] += grown;
        } else {
            d_gamma[part] = grown;
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
        if i < ROWS * COLUMNS {
            let row = i / COLUMNS;
            let column = i % COLUMNS;
            let part = column / WIDTH;
            let along = drift[part] * u[part * ROWS + row] * known_v[column];
            var own = known_numbers[PARTS + part] * (gradient[i] - along);
            if ACCUMULATE {
                own += dw[i];
            }
            dw[i] = own;
        }
    }
}

// A team takes one row of one matrix, times that matrix's sums.
@compute @workgroup_size(TEAM_LANES)
fn turn(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = group.x + group.y * groups.x;
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let known = min(place, PARTS * ROWS - 1u);
    let part = known / ROWS;
    let row = known % ROWS;
    var sum = 0.0;
    for (var column = lane; column < WIDTH; column += TEAM) {
        sum += w[row * COLUMNS + part * WIDTH + column] * sums[part * WIDTH + column];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u && place < PARTS * ROWS {
        image[place] = whole;
    }
}

// A team takes one matrix: its image divided by its length. Of a matrix of zeros, the vector stays.
@compute @workgroup_size(TEAM_LANES)
fn unit(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = group.x * ROWS;
    var sum = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        sum += image[first + row] * image[first + row];
    }
    let length = sqrt(team_sum(sum, lane));
    for (var row = lane; row < ROWS; row += TEAM) {
        var after = u[first + row];
        if length > 0.0 {
            after = image[first + row] / length;
        }
        next[first + row] = after;
    }
}

@compute @workgroup_size(LANES)
fn keep(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * LANES + lane;
    if i < PARTS * ROWS {
        own_u[i] = known_next[i];
    }
}

@compute @workgroup_size(LANES)
fn keep_if_open(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * LANES + lane;
    if i < PARTS * ROWS && verdict[0].open != 0.0 {
        own_u[i] = known_next[i];
    }
}
