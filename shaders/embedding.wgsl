// x[i] = table[tokens[i]], plus positions[i mod SEQUENCE], and its adjoint. A dispatch binds rows FIRST .. FIRST + COUNT of
// the table, because a table may exceed one binding, and handles only the tokens of that window.
//# flags positions: positions are added
//# numbers vector: elements of a Vector, 4 or 1
//# numbers lanes each: as in shared/walk.wgsl
//# import shared/vector$vector

override TOKENS: u32; // rows of x
override WIDTH: u32; // vectors of a row
override SEQUENCE: u32; // positions of one sequence; divides TOKENS
override FIRST: u32; // first row of the table in this window
override COUNT: u32; // rows of the table in this window

@group(0) @binding(0) var<storage, read> tokens: array<u32>; // [TOKENS]
@group(0) @binding(1) var<storage, read> table: array<Vector>; // [COUNT, WIDTH]
@group(0) @binding(2) var<storage, read> positions: array<Vector>; // [SEQUENCE, WIDTH]
@group(0) @binding(3) var<storage, read_write> x: array<Vector>; // [TOKENS, WIDTH]

@group(0) @binding(4) var<storage, read> sorted: array<u32>; // [TOKENS], rows of x in the order of their tokens
@group(0) @binding(5) var<storage, read> segments: array<u32>; // [TOKENS + 1], where in `sorted` each token starts
@group(0) @binding(6) var<storage, read> dx: array<Vector>; // [TOKENS, WIDTH]
@group(0) @binding(7) var<storage, read_write> dtable: array<Vector>; // [COUNT, WIDTH]
@group(0) @binding(8) var<storage, read_write> dpositions: array<Vector>; // [SEQUENCE, WIDTH]

//# import shared/walk

@compute @workgroup_size(LANES)
fn embedding(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let start = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = start + n * LANES;
        if i < TOKENS * WIDTH {
            let row = i / WIDTH;
            let column = i % WIDTH;
            // Below FIRST the difference wraps to a large number.
            let token = tokens[row] - FIRST;
            if token < COUNT {
                //# if positions
                x[i] = table[token * WIDTH + column] + positions[row % SEQUENCE * WIDTH + column];
                //# else
                x[i] = table[token * WIDTH + column];
                //# end
            }
        }
    }
}

// Each distinct token has a row of lanes. Each lane adds up one vector of columns over the token's rows, in order.
@compute @workgroup_size(LANES)
fn embedding_tokens(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    let segment = place / WIDTH;
    let column = place % WIDTH;
    if segment >= TOKENS {
        return;
    }
    let start = segments[segment];
    let end = segments[segment + 1u];
    if start == end {
        return; // fewer distinct tokens than rows
    }
    let token = tokens[sorted[start]] - FIRST;
    if token >= COUNT {
        return;
    }
    var sum = Vector();
    // Four rows per turn: their loads do not wait for each other, and a frequent token stays below the number of turns
    // after which some CPU drivers leave a loop.
    let fours = (end - start) / 4u;
    for (var n = 0u; n < fours; n++) {
        let at = start + n * 4u;
        let a = dx[sorted[at] * WIDTH + column];
        let b = dx[sorted[at + 1u] * WIDTH + column];
        let c = dx[sorted[at + 2u] * WIDTH + column];
        let d = dx[sorted[at + 3u] * WIDTH + column];
        sum += (a + b) + (c + d);
    }
    for (var at = start + fours * 4u; at < end; at++) {
        sum += dx[sorted[at] * WIDTH + column];
    }
    dtable[token * WIDTH + column] += sum;
}

// One lane adds up one vector of one position over the sequences.
@compute @workgroup_size(LANES)
fn embedding_positions(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= SEQUENCE * WIDTH {
        return;
    }
    var sum = Vector();
    for (var i = place; i < TOKENS * WIDTH; i += SEQUENCE * WIDTH) {
        sum += dx[i];
    }
    dpositions[place] += sum;
}
