// Causal attention, the entropy of every row, and the gradients, as products of blocks in workgroup memory. With the width
// of a head, a lane's registers grow only by its share of the sums.
//
// A workgroup holds ROWS rows of one side (forward and query_gradient: queries; key_gradient: keys) and walks the other
// side in blocks of KEYS rows. Its lanes form a grid, `across` by `down`. A lane computes the scores of its rows (down,
// down + DOWN, ..) with its rows of the other side (across, across + ACROSS, ..), and the sums of the same rows in its
// columns (across, across + ACROSS, ..). Both factors of the scores pass through workgroup memory DEPTH columns at a time,
// the rows that are summed one section of WIDE columns at a time. Rows there have an odd number of vec4s, so that lanes in
// one column of the grid use different banks.
//# flags forward query_gradient key_gradient: the one entry point
//# flags half: qkv, output and their gradients are f16
//# flags entropy: the entropy is written as well
//# flags guided: a gradient arrives at the entropy as well
//# flags capped: scores are capped
//# numbers columns: vec4s of a head's row
//# numbers lanes across
//# numbers rows keys: of a lane
//# numbers depth sections
//# numbers each: vec4s of a section that a lane sums
//# numbers spare: vec4s of workgroup memory that nothing uses
//# numbers four
//# numbers fill refill broadfill: vec4s that a lane puts into workgroup memory at a time, of this side, of the other, of a section
//# texts element: how qkv, output and their gradients are stored
//# texts narrow: the function that makes it of vec4<f32>
//# import shared/narrow

override HEADS: u32; // H
override SEQUENCE: u32; // T
override SCALE: f32; // 1 / sqrt(head width)

const COLUMNS = ${columns}u;
const LANES = ${lanes}u;
const ACROSS = ${across}u;
const DOWN = LANES / ACROSS;
const ROWS = ${rows}u * DOWN;
const KEYS = ${keys}u * ACROSS;
const DEPTH = ${depth}u;
const WIDE = ${each}u * ACROSS;
const NARROW = DEPTH | 1u; // stride of rows in vec4s: for factors of the scores
const BROAD = WIDE | 1u; // for rows that are summed
const WEIGHTS = (KEYS / 4u) | 1u; // for their weights
const MASKED = -1e30; // the score of a later key: finite, because WGSL has no infinities
const EXPONENT = 0x7f800000u; // all ones in every number that is not finite

//# import attention/tensors with images = false, texel = none

//# if capped
//# import attention/cap with of = f32
//# end

var<workgroup> own: array<vec4<f32>, ROWS * max(NARROW, WEIGHTS) + ${spare}u>; // factors, or weights, of this side's rows
var<workgroup> other: array<vec4<f32>, KEYS * max(NARROW, BROAD)>; // rows of the other side
//# if key_gradient
//# else
var<workgroup> gathered: array<vec4<f32>, ROWS * ACROSS / 4u>; // one number of each lane for each of its rows
//# end

// The vec4 of a head's row: `at` holds the head's first column and the first row of its batch element. Rows past the end
// read the last row instead: memory after a tensor may hold anything.
fn q_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f32> {
    let start = (at.y + min(row, SEQUENCE - 1u)) * 3u * HEADS * COLUMNS;
    return vec4<f32>(qkv[start + at.x + column]) * SCALE;
}

fn k_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f32> {
    let start = ((at.y + min(row, SEQUENCE - 1u)) * 3u + 1u) * HEADS * COLUMNS;
    return vec4<f32>(qkv[start + at.x + column]);
}

fn v_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f32> {
    let start = ((at.y + min(row, SEQUENCE - 1u)) * 3u + 2u) * HEADS * COLUMNS;
    return vec4<f32>(qkv[start + at.x + column]);
}

//# if forward
//# else
fn g_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f32> {
    let start = (at.y + min(row, SEQUENCE - 1u)) * HEADS * COLUMNS;
    return vec4<f32>(d_output[start + at.x + column]);
}
//# end

//# if query_gradient
fn output_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f32> {
    let start = (at.y + min(row, SEQUENCE - 1u)) * HEADS * COLUMNS;
    return vec4<f32>(output[start + at.x + column]);
}
//# end

//# if key_gradient
//# else
// Shares a number with all lanes of a row; a reader waits for a barrier first.
fn gather(row: u32, across: u32, number: f32) {
    gathered[row * (ACROSS / 4u) + across / 4u][across % 4u] = number;
}

fn gathered_sum(row: u32) -> f32 {
    var sum = vec4<f32>();
    for (var n = 0u; n < ACROSS / 4u; n += 1u) {
        sum += gathered[row * (ACROSS / 4u) + n];
    }
    return (sum.x + sum.y) + (sum.z + sum.w);
}
//# end

//# if forward
fn gathered_most(row: u32) -> f32 {
    var most = gathered[row * (ACROSS / 4u)];
    for (var n = 1u; n < ACROSS / 4u; n += 1u) {
        most = max(most, gathered[row * (ACROSS / 4u) + n]);
    }
    return max(max(most.x, most.y), max(most.z, most.w));
}
//# end

// group: block of rows, head, batch element.
@compute @workgroup_size(LANES)
//# if forward
fn forward(
//# end
//# if query_gradient
fn query_gradient(
//# end
//# if key_gradient
fn key_gradient(
//# end
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = vec2(group.y * COLUMNS, group.z * SEQUENCE);
    let line = (group.z * HEADS + group.y) * SEQUENCE; // the first row's place in lse, entropy and delta
    let first = group.x * ROWS;
    let across = lane % ACROSS;
    let down = lane / ACROSS;

    //# for r in rows
    let row_$r = down + ${r}u * DOWN; // in the workgroup
    let i_$r = first + row_$r;
    let near_$r = min(i_$r, SEQUENCE - 1u);
    //# if forward
    var peak_$r = MASKED;
    var sum_$r = 0.0; // over this lane's keys, like the next two
    var moment_$r = 0.0; // sum of e^(s - peak) * (s - peak)
    var broken_$r = 0.0; // 1 once a score was not finite
    //# end
    //# for s in sections
    //# for m in each
    var x_${r}_${s}_$m = vec4<f32>();
    //# if key_gradient
    var y_${r}_${s}_$m = vec4<f32>();
    //# end
    //# end
    //# end
    //# end

    //# if query_gradient
    //# for r in rows
    {
        var part = 0.0;
        for (var c = across; c < COLUMNS; c += ACROSS) {
            part += dot(g_at(at, i_$r, c), output_at(at, i_$r, c));
        }
        gather(row_$r, across, part);
    }
    //# end
    workgroupBarrier();
    //# for r in rows
    let lse_$r = lse[line + near_$r];
    //# if guided
    let guide_$r = d_entropy[line + near_$r];
    let delta_$r = gathered_sum(row_$r) + guide_$r * entropy[line + near_$r];
    //# else
    let delta_$r = gathered_sum(row_$r);
    //# end
    //# end
    //# end

    //# if key_gradient
    let end = SEQUENCE;
    for (var block = first / KEYS * KEYS; block < end; block += KEYS) {
    //# else
    let end = min(first + ROWS, SEQUENCE);
    for (var block = 0u; block < end; block += KEYS) {
    //# end
        //# for r in rows
        //# for j in keys
        var s_${r}_$j = 0.0;
        //# end
        //# end
        //# if key_gradient
        //# import attention/blocks/scores with sum = s, mine = k_at, theirs = q_at
        //# else
        //# import attention/blocks/scores with sum = s, mine = q_at, theirs = k_at
        //# end

        //# if capped
        //# for r in rows
        //# for j in keys
        s_${r}_$j = capped(s_${r}_$j);
        //# end
        //# end
        //# end

        //# if forward
        //# import attention/blocks/forward
        //# else
        //# import attention/blocks/backward
        //# end
    }

    //# if forward
    // The lanes of a row add up their sums, which have the same maximum.
    //# for r in rows
    workgroupBarrier();
    gather(row_$r, across, sum_$r);
    workgroupBarrier();
    let total_$r = gathered_sum(row_$r);
    workgroupBarrier();
    gather(row_$r, across, broken_$r);
    workgroupBarrier();
    let broken_all_$r = select(0u, EXPONENT, gathered_sum(row_$r) > 0.0);
    //# if entropy
    workgroupBarrier();
    gather(row_$r, across, moment_$r);
    workgroupBarrier();
    let moment_all_$r = gathered_sum(row_$r);
    //# end
    //# end
    //# end

    //# for r in rows
    if i_$r < SEQUENCE {
        //# if forward
        let share_$r = 1.0 / total_$r;
        let log_sum_$r = log(total_$r);
        let out_$r = (at.y + i_$r) * HEADS * COLUMNS + at.x;
        //# for s in sections
        //# for m in each
        if ${s}u * WIDE + ${m}u * ACROSS + across < COLUMNS {
            output[out_$r + ${s}u * WIDE + ${m}u * ACROSS + across] = ${narrow}(x_${r}_${s}_$m * share_$r);
        }
        //# end
        //# end
        if across == 0u {
            lse[line + i_$r] = bitcast<f32>(bitcast<u32>(peak_$r + log_sum_$r) | broken_all_$r);
            //# if entropy
            let nats = max(log_sum_$r - moment_all_$r * share_$r, 0.0);
            entropy[line + i_$r] = bitcast<f32>(bitcast<u32>(nats) | broken_all_$r);
            //# end
        }
        //# else
        let out_$r = (at.y + i_$r) * 3u * HEADS * COLUMNS + at.x;
        //# for s in sections
        //# for m in each
        if ${s}u * WIDE + ${m}u * ACROSS + across < COLUMNS {
            let c = out_$r + ${s}u * WIDE + ${m}u * ACROSS + across;
            //# if key_gradient
            d_qkv[c + HEADS * COLUMNS] = ${narrow}(x_${r}_${s}_$m);
            d_qkv[c + 2u * HEADS * COLUMNS] = ${narrow}(y_${r}_${s}_$m);
            //# else
            d_qkv[c] = ${narrow}(x_${r}_${s}_$m * SCALE);
            //# end
        }
        //# end
        //# end
        //# if query_gradient
        if across == 0u {
            delta[line + i_$r] = delta_$r;
        }
        //# end
        //# end
    }
    //# end
}
