// Cross-entropy over a vocabulary that is walked in pieces: `update` folds one piece of logits into a running
// log-sum-exp per row, `finish` turns it into the loss, `gradient` turns one piece of logits into its gradient.
// A team of lanes shares a row; `finish` runs as a single team. With `half` the gradient is f16 and carries the loss scale.
//# flags update finish gradient: the one entry point
//# flags images: logits are read as an image
//# flags half: the gradient is f16
//# numbers vector: elements of a Vector, 4 or 1
//# texts team: alone, subgroup or workgroup
//# texts stored: a Vector of the gradient
//# texts narrow: the function that makes it of a Vector
//# import shared/narrow
//# import shared/scaling with scaled = half
//# import shared/team_$team
//# import shared/vector$vector

override ROWS: u32;    // token positions
override COLUMNS: u32; // vocabulary entries of this piece
override LANES: u32;   // lanes per workgroup: one team, or teams of one lane each

struct State {
    largest: f32, // the largest logit so far
    sum: f32,     // Σ exp(logit − largest)
    hit: f32,     // the target's logit, once its piece was seen
    unused: f32,
}

const IGNORED = 0xffffffffu; // the target of a position that does not count
const FLOOR = -1e30;         // below every logit; WGSL has no infinite constants

//# import shared/operand with name = logits, slot = 0, of = Vector, texel = rgba32float // [ROWS, COLUMNS]
@group(0) @binding(1) var<storage, read_write> gradients: array<$stored>;   // [ROWS, COLUMNS]; in f32, first the logits
@group(0) @binding(2) var<storage, read_write> state: array<State>;        // [ROWS]
@group(0) @binding(3) var<storage, read> states: array<State>;             // [ROWS]
@group(0) @binding(4) var<storage, read> targets: array<u32>;              // [ROWS]
@group(0) @binding(5) var<storage, read> scale: array<f32>;                // [1], the weight of a position
@group(0) @binding(6) var<storage, read> lse: array<f32>;                  // [ROWS]
@group(0) @binding(7) var<storage, read_write> lse_out: array<f32>;        // [ROWS]
@group(0) @binding(8) var<storage, read_write> loss: array<f32>;           // [1], accumulated
@group(0) @binding(9) var<storage, read> first: array<f32>;                // [1], the piece's first entry
//# if half
@group(0) @binding(10) var<storage, read> scaling: array<Scaling>;         // [1]
//# end

//# if update
fn logits_at(row: u32, i: u32) -> Vector {
    //# if images
    return textureLoad(logits, vec2(i, row));
    //# else
    return logits[row * (COLUMNS / VECTOR) + i];
    //# end
}
//# end

//# if gradient
// The logits. In f32 they lie where their gradient will be.
fn logits_at(row: u32, i: u32) -> Vector {
    //# if images
    return textureLoad(logits, vec2(i, row));
    //# else
    //# if half
    return logits[row * (COLUMNS / VECTOR) + i];
    //# else
    return gradients[row * (COLUMNS / VECTOR) + i];
    //# end
    //# end
}
//# end

//# if update
@compute @workgroup_size(LANES)
fn update(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    // Teams past the last row repeat it without writing: a team's sum needs the whole workgroup.
    let place = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    let row = min(place, ROWS - 1u);
    let member = lane % TEAM;
    let vectors = COLUMNS / VECTOR;
    var largest = FLOOR;
    var sum = 0.0;
    for (var i = member; i < vectors; i += TEAM) {
        let c = logits_at(row, i);
        let higher = max(largest, largest_of(c));
        sum = sum * exp(largest - higher) + total(exp(c - Vector(higher)));
        largest = higher;
    }
    let top = team_max(largest, lane);
    let all = team_sum(sum * exp(largest - top), lane);
    if member == 0u && place < ROWS {
        // Before the first piece the state may hold anything.
        var before = State(FLOOR, 0.0, 0.0, 0.0);
        if first[0] > 0.0 {
            before = state[row];
        }
        let higher = max(before.largest, top);
        before.sum = before.sum * exp(before.largest - higher) + all * exp(top - higher);
        before.largest = higher;
        // A target of another piece lies past COLUMNS after the subtraction wraps.
        let at = targets[row] - u32(first[0]);
        if at < COLUMNS {
            let c = logits_at(row, at / VECTOR);
            // Selected, not multiplied: an infinite neighbour must not turn the sum into NaN.
            before.hit = total(select(Vector(0.0), c, one_hot(at - at % VECTOR, at) == Vector(1.0)));
        }
        state[row] = before;
    }
}
//# end

//# if finish
@compute @workgroup_size(TEAM)
fn finish(@builtin(local_invocation_index) lane: u32) {
    var sum = 0.0;
    for (var row = lane; row < ROWS; row += TEAM) {
        let s = states[row];
        let log_sum = s.largest + log(s.sum);
        lse_out[row] = log_sum;
        if targets[row] != IGNORED {
            sum += log_sum - s.hit;
        }
    }
    let all = team_sum(sum, lane);
    if lane == 0u {
        loss[0] += all * scale[0];
    }
}
//# end

//# if gradient
@compute @workgroup_size(LANES)
fn gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = ((group.x + group.y * groups.x) * LANES + lane) / TEAM;
    if row >= ROWS {
        return;
    }
    let vectors = COLUMNS / VECTOR;
    let log_sum = lse[row];
    let target_index = targets[row];
    //# if half
    let weight = select(scale[0] * scaling[0].scale, 0.0, target_index == IGNORED);
    //# else
    let weight = select(scale[0], 0.0, target_index == IGNORED);
    //# end
    // A target of another piece lies past COLUMNS after the subtraction wraps.
    let at = target_index - u32(first[0]);
    for (var i = lane % TEAM; i < vectors; i += TEAM) {
        let p = exp(logits_at(row, i) - Vector(log_sum));
        gradients[row * vectors + i] = ${narrow}((p - one_hot(i * VECTOR, at)) * weight);
    }
}
//# end
