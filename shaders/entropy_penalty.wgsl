// The penalty on attention entropy, which a loss adds to the cross-entropy, and its gradient. With
// d = H - threshold_h * MOST of a row's entropy H, or of the head's mean entropy, and f(d) = d^2 where |d| > MARGIN, else 0:
//   penalty_h += WEIGHT * sum over rows of f(d), or WEIGHT * f(d of the mean);
//   d_entropy = scale * WEIGHT * f'(d), or that / rows;  d_threshold_h (+)= -MOST * sum over rows of d_entropy.
// One workgroup per head. Each lane adds up its rows in order, then the first lane adds up the lanes in order.
//# flags scaled: gradients carry a loss scale
//# import shared/finite
//# import shared/scaling

override BATCH: u32; // B
override HEADS: u32; // H
override SEQUENCE: u32; // T
override LANES: u32;
override MEAN: bool; // the head's mean entropy counts, in place of each row's
override MOST: f32; // ln T
override MARGIN: f32;
override WEIGHT: f32;
override ACCUMULATE: bool; // d_threshold is added to

@group(0) @binding(0) var<storage, read> entropy: array<f32>; // [B, H, T]
@group(0) @binding(1) var<storage, read> threshold: array<f32>; // [H]
@group(0) @binding(2) var<storage, read_write> penalty: array<f32>; // [H]
@group(0) @binding(3) var<storage, read_write> d_entropy: array<f32>; // [B, H, T]
@group(0) @binding(4) var<storage, read_write> d_threshold: array<f32>; // [H]
//# if scaled
@group(0) @binding(5) var<storage, read> scaling: array<Scaling>; // [1]
//# end

var<workgroup> sums: array<f32, LANES>;

// The sum over the lanes, for every lane; always in the same order.
fn all_lanes(value: f32, lane: u32) -> f32 {
    sums[lane] = value;
    workgroupBarrier();
    if lane == 0u {
        var sum = value;
        for (var other = 1u; other < LANES; other++) {
            sum += sums[other];
        }
        sums[0] = sum;
    }
    workgroupBarrier();
    let sum = sums[0];
    // The next sum writes the same memory.
    workgroupBarrier();
    return sum;
}

// The index of the head's row `row`.
fn place(head: u32, row: u32) -> u32 {
    return (row / SEQUENCE * HEADS + head) * SEQUENCE + row % SEQUENCE;
}

// d if it counts, else 0. A d that is not finite counts: a penalty must not hide it.
fn beyond(nats: f32, head: u32) -> f32 {
    let d = nats - threshold[head] * MOST;
    return select(d, 0.0, is_finite(d) && abs(d) <= MARGIN);
}

fn head_mean(head: u32, lane: u32) -> f32 {
    var sum = 0.0;
    for (var row = lane; row < BATCH * SEQUENCE; row += LANES) {
        sum += entropy[place(head, row)];
    }
    return all_lanes(sum, lane) / f32(BATCH * SEQUENCE);
}

@compute @workgroup_size(LANES)
fn entropy_penalty(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    var whole: f32;
    if MEAN {
        let d = beyond(head_mean(head, lane), head);
        whole = d * d;
    } else {
        var sum = 0.0;
        for (var row = lane; row < BATCH * SEQUENCE; row += LANES) {
            let d = beyond(entropy[place(head, row)], head);
            sum += d * d;
        }
        whole = all_lanes(sum, lane);
    }
    if lane == 0u {
        penalty[head] += WEIGHT * whole;
    }
}

@compute @workgroup_size(LANES)
fn entropy_penalty_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    let rows = BATCH * SEQUENCE;
    //# if scaled
    let factor = 2.0 * WEIGHT * scaling[0].scale;
    //# else
    let factor = 2.0 * WEIGHT;
    //# end
    var whole: f32;
    if MEAN {
        let d = beyond(head_mean(head, lane), head);
        whole = factor * d;
        for (var row = lane; row < rows; row += LANES) {
            d_entropy[place(head, row)] = whole / f32(rows);
        }
    } else {
        var sum = 0.0;
        for (var row = lane; row < rows; row += LANES) {
            let at = place(head, row);
            let g = factor * beyond(entropy[at], head);
            d_entropy[at] = g;
            sum += g;
        }
        whole = all_lanes(sum, lane);
    }
    if lane == 0u {
        let pull = -MOST * whole;
        if ACCUMULATE {
            d_threshold[head] += pull;
        } else {
            d_threshold[head] = pull;
        }
    }
}
