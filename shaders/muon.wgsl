// The parts of Muon beside its products: momentum, matrices of norm one, the polynomial of a step of Newton and Schulz,
// NorMuon's scaling of neurons, and the update. A parameter is some matrices of one size side by side.
//# flags half: the parameter has a copy in f16
//# numbers lanes each: as in shared/walk.wgsl
//# numbers parts: matrices side by side
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override COLUMNS: u32; // of one matrix
override ELEMENTS: u32; // of one matrix
override PADDED: u32; // elements from one matrix to the next in u and x
override MOMENTUM: f32;
override SHARES: u32; // sums of squares of one matrix
override TEAM_LANES: u32; // lanes of a workgroup that is one team
override ROWS: u32;
override FIRST: u32; // where a matrix's columns begin in those of the parameter
override BETA2: f32;
override FACTOR: f32; // of the rate
override DECAY: f32; // of the decay

const PARTS = ${parts}u;

struct Hyper {
    unused: vec2<f32>,
    decay: f32, // learning rate · weight decay
    unused_too: f32,
    rest: vec3<f32>,
    rate: f32, // learning rate
}

struct Verdict {
    norm: f32,
    clip: f32, // also undoes the loss scale
    open: f32,
    halted: f32,
}

//# for p in parts
@group(0) @binding($p) var<storage, read> x_$p: array<f32>; // [ELEMENTS]
//# end
@group(0) @binding(3) var<storage, read> hyper: array<Hyper>; // [1]
@group(0) @binding(4) var<storage, read> verdict: array<Verdict>; // [1]
@group(0) @binding(5) var<storage, read_write> w: array<f32>; // [ELEMENTS * PARTS]
@group(0) @binding(6) var<storage, read> gradient: array<f32>; // [ELEMENTS * PARTS]
@group(0) @binding(7) var<storage, read_write> moment: array<f32>; // [ELEMENTS * PARTS]
@group(0) @binding(8) var<storage, read_write> u: array<f32>; // [PARTS * PADDED]
@group(0) @binding(18) var<storage, read> known_u: array<f32>; // the same
@group(0) @binding(9) var<storage, read_write> x: array<f32>; // [PARTS * PADDED], or [ELEMENTS] of one matrix
@group(0) @binding(10) var<storage, read_write> shares: array<f32>; // [PARTS * SHARES]
@group(0) @binding(11) var<storage, read_write> norm: array<f32>; // [PARTS]
@group(0) @binding(12) var<storage, read> a: array<f32>; // [COLUMNS, COLUMNS]
@group(0) @binding(13) var<storage, read> square: array<f32>; // [COLUMNS, COLUMNS]
@group(0) @binding(14) var<storage, read_write> p: array<f32>; // [COLUMNS, COLUMNS]
@group(0) @binding(15) var<storage, read_write> second: array<f32>; // [columns of the parameter]
@group(0) @binding(16) var<storage, read_write> means: array<vec2<f32>>; // [COLUMNS]: mean square, scale
//# if half
@group(0) @binding(17) var<storage, read_write> copied: array<f16>; // [ELEMENTS * PARTS]
//# end

//# import shared/walk

@compute @workgroup_size(LANES)
fn momentum(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let judged = verdict[0];
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let place = first + n * LANES;
        if place < PARTS * PADDED {
            let part = place / PADDED;
            let own = place - part * PADDED;
            if judged.open == 0.0 || own >= ELEMENTS {
                u[place] = 0.0;
            } else {
                let row = own / COLUMNS;
                let i = row * PARTS * COLUMNS + part * COLUMNS + (own - row * COLUMNS);
                let g = gradient[i] * judged.clip;
                let m = MOMENTUM * moment[i] + g;
                moment[i] = m;
                u[place] = g + MOMENTUM * m;
            }
        }
    }
}

// A lane sums every SHARES-th square of one matrix.
@compute @workgroup_size(LANES)
fn squares(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= PARTS * SHARES {
        return;
    }
    let part = place / SHARES;
    var sum = 0.0;
    for (var i = place - part * SHARES; i < ELEMENTS; i += SHARES) {
        let v = known_u[part * PADDED + i];
        sum += v * v;
    }
    shares[place] = sum;
}

// A team adds up the squares of one matrix, always in the same order.
@compute @workgroup_size(TEAM_LANES)
fn norms(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var i = lane; i < SHARES; i += TEAM) {
        sum += shares[group.x * SHARES + i];
    }
    let whole = team_sum(sum, lane);
    if lane == 0u {
        norm[group.x] = sqrt(whole);
    }
}

@compute @workgroup_size(LANES)
fn unit(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let place = first + n * LANES;
        if place < PARTS * PADDED {
            let part = place / PADDED;
            let inside = place - part * PADDED < ELEMENTS;
            x[place] = select(0.0, known_u[place] / (norm[part] + 1e-7), inside);
        }
    }
}

@compute @workgroup_size(LANES)
fn polynomial(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < COLUMNS * COLUMNS {
            let identity = select(0.0, 3.4445, i / COLUMNS == i % COLUMNS);
            p[i] = identity - 4.7750 * a[i] + 2.0315 * square[i];
        }
    }
}

// A lane takes one neuron: its mean square, the running mean of it, and the inverse of that one's root.
@compute @workgroup_size(LANES)
fn neuron_means(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let column = (group.x + group.y * groups.x) * LANES + lane;
    if column >= COLUMNS {
        return;
    }
    var sum = 0.0;
    for (var row = 0u; row < ROWS; row++) {
        let v = x_0[row * COLUMNS + column];
        sum += v * v;
    }
    let mean = sum / f32(ROWS);
    let moved = BETA2 * second[FIRST + column] + (1.0 - BETA2) * mean;
    if verdict[0].open != 0.0 {
        second[FIRST + column] = moved;
    }
    means[column] = vec2(mean, 1.0 / (sqrt(moved) + 1e-10));
}

// The norm before the scaling over that after it.
@compute @workgroup_size(TEAM_LANES)
fn neuron_ratio(@builtin(local_invocation_index) lane: u32) {
    var before = 0.0;
    var after = 0.0;
    for (var i = lane; i < COLUMNS; i += TEAM) {
        let mean = means[i];
        before += mean.x;
        after += mean.x * mean.y * mean.y;
    }
    let whole = team_sum(before, lane);
    let scaled = team_sum(after, lane);
    if lane == 0u {
        norm[0] = sqrt(whole) / (sqrt(scaled) + 1e-10);
    }
}

@compute @workgroup_size(LANES)
fn neuron_scale(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < ELEMENTS {
            x[i] = x_0[i] * (means[i % COLUMNS].y * norm[0]);
        }
    }
}

@compute @workgroup_size(LANES)
fn apply(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    if verdict[0].open == 0.0 {
        return;
    }
    let decay = hyper[0].decay * DECAY;
    let rate = hyper[0].rate * FACTOR;
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < PARTS * ELEMENTS {
            let column = i % (PARTS * COLUMNS);
            let part = column / COLUMNS;
            let place = i / (PARTS * COLUMNS) * COLUMNS + (column - part * COLUMNS);
            var along = 0.0;
            //# for p in parts
            if part == ${p}u {
                along = x_$p[place];
            }
            //# end
            let before = w[i];
            let after = before - decay * before - rate * along;
            w[i] = after;
            //# if half
            copied[i] = narrow1(after);
            //# end
        }
    }
}
