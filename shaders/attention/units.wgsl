// Causal attention in f16, the entropy of every row, and the gradients, on a device's matrix units, which multiply fragments of
// SIDE x SIDE in f16 and add in f32.
//
// A workgroup holds ROWS rows of one side (forward and query_gradient: queries; key_gradient: keys) and walks the other
// side in blocks of KEYS rows, which lie in workgroup memory. Subgroups form a grid, `down` by `across`. Each holds HIGH
// rows of this side in its EACH columns as fragments, computes the part of the scores over these columns, and sums its rows
// in them. So all of its registers and products serve EACH columns, and nothing of a head is read twice.
//
// The elements of a fragment cannot be named, so scores go through workgroup memory (`shown`, one part from each column of
// subgroups). There, a team of lanes takes a row: it adds up the parts, computes the weights for the sums from them in f32,
// and writes these in f16 (`weights`). Scores and weights are about half of the bytes that a block moves in workgroup
// memory, and all of its arithmetic on lanes.
//
// Weights in f16 are relative to a power of their row, so that none is too large, and only weights that are small compared
// with the row's largest are lost. In the forward pass the power is e^peak: p = FORWARD * e^(score - peak), where a score
// may exceed the peak by ROOM before a new one is taken. In the gradients it is a power of two, chosen anew when the
// largest weight of a block would exceed LARGEST. Only then are the sums so far multiplied, through workgroup memory; this
// happens a few times in a walk. Two other designs cost more: a first walk that finds lse and a second that makes the sums
// need no powers, but half as many products again; sums in workgroup memory are moved four times for each block.
//# flags forward query_gradient key_gradient: the one entry point
//# flags entropy: the entropy is written as well
//# flags guided: a gradient arrives at the entropy as well
//# flags capped: scores are capped
//# flags whole: the fragments have no columns past the head's
//# flags even: all lanes put in as many vec4s
//# flags sized: shows at which width of subgroups it ran
//# numbers columns: vec4s of a head's row
//# numbers side: of a fragment
//# numbers lanes: of a subgroup
//# numbers down across
//# numbers high each: fragments of rows of a subgroup, and of columns
//# numbers keys: fragments of a block's rows
//# numbers team: lanes of a row
//# numbers turns: to put a team's numbers together
//# numbers subgroups
//# numbers rows: of a team
//# numbers cells: vec4s of a row of scores that a lane has
//# numbers refill: vec4s that a lane puts into workgroup memory at a time
//# numbers four
//# texts own_left own_right: load this side's rows as fragments, made of own.wgsl
//# texts rescale: multiplies the sums, made of rescale.wgsl
//# texts stores_x stores_y: store the sums, made of stores.wgsl
//# import shared/narrow with half = true

enable subgroups;
enable wgpu_cooperative_matrix;
override HEADS: u32; // H
override SEQUENCE: u32; // T
override SCALE: f32; // 1 / sqrt(head width)

const COLUMNS = ${columns}u;
const SIDE = ${side}u;
const LANES = ${lanes}u;
const DOWN = ${down}u;
const ACROSS = ${across}u;
const THREADS = LANES * DOWN * ACROSS;
const HIGH = SIDE * ${high}u;
const ROWS = HIGH * DOWN;
const KEYS = SIDE * ${keys}u;
const EACH = SIDE * ${each}u;
const WIDE = EACH * ACROSS;
const TEAM = ${team}u;
const TEAMS = THREADS / TEAM;
const VECTORS = KEYS * WIDE / 4u; // vec4s of a block
const GAP = 8u; // so that successive rows lie in different banks
const BELOW = 8u; // successive rows that neighbouring lanes put into workgroup memory
const OTHER = WIDE + GAP; // stride of rows, in elements
const TURNED = KEYS + GAP; // the same for a turned block
const SHOWN = KEYS + GAP;
const WEIGHTS = KEYS + GAP;
const MASKED = -1e30; // the score of a later key: finite, because WGSL has no infinities
const EXPONENT = 0x7f800000u; // all ones in every number that is not finite
const FORWARD = 1024.0;
const ROOM = 4.0; // FORWARD * e^ROOM = 55,909 is below 65,504, the largest f16
const PROBABILITY = 16384.0; // factor for a probability
const LARGEST = 32768.0;

//# import attention/units/rows

//# if capped
//# import attention/cap with of = vec4<f32>
//# end

//# if sized
// The subgroup size with which each invocation ran: the program asks the device before it relies on a size.
@group(0) @binding(8) var<storage, read_write> widths: array<u32>; // [workgroups, THREADS]
//# end

// group: block of rows, head, batch element.
@compute @workgroup_size(THREADS)
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
    //# if sized
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(subgroup_size) width: u32,
    //# end
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(local_invocation_index) invocation: u32,
) {
    //# if sized
    widths[((group.z * groups.y + group.y) * groups.x + group.x) * THREADS + invocation] = width;
    //# end
    let at = vec2(group.y * COLUMNS, group.z * SEQUENCE);
    let line = (group.z * HEADS + group.y) * SEQUENCE; // the first row's place in lse, entropy and delta
    let first = group.x * ROWS;
    // Whole subgroups, in order: the device has one subgroup size, and the workgroup's size is a multiple of it.
    let subgroup = invocation / LANES;
    let thread = subgroup * LANES + lane;
    let down = subgroup / ACROSS * HIGH;
    let across = subgroup % ACROSS * EACH;
    let part = subgroup % ACROSS * ROWS + down;
    let member = thread % TEAM;

    //# for r in rows
    let row_$r = thread / TEAM + ${r}u * TEAMS; // in the workgroup
    let i_$r = first + row_$r;
    let near_$r = min(i_$r, SEQUENCE - 1u);
    //# if forward
    var peak_$r = MASKED;
    var sum_$r = 0.0; // over this lane's keys, like the next two
    var moment_$r = 0.0; // sum of e^(s - peak) * (s - peak)
    var broken_$r = 0.0; // 1 once a score was not finite
    //# else
    var power_$r = 0.0; // a power of two; 0 before the first weight
    //# end
    //# if query_gradient
    //# if guided
    let guide_$r = d_entropy[line + near_$r];
    var delta_$r = guide_$r * entropy[line + near_$r];
    //# else
    var delta_$r = 0.0;
    //# end
    let lse_$r = lse[line + near_$r];
    {
        var own = 0.0;
        for (var c = member; c < COLUMNS; c += TEAM) {
            let there = (at.y + near_$r) * HEADS * COLUMNS + at.x + c;
            own += dot(vec4<f32>(d_output[there]), vec4<f32>(output[there]));
        }
        delta_$r += team_sum(own);
    }
    //# end
    //# end

    // This side's rows, as fragments: factors of the scores and, in the gradients, of the slopes.
    //# insert own_left
    //# if forward
    //# else
    //# insert own_right
    //# end
    //# for h in high
    //# for d in each
    var x_${h}_$d = coop_mat${side}x${side}<f32, C>();
    //# if key_gradient
    var y_${h}_$d = coop_mat${side}x${side}<f32, C>();
    //# end
    //# end
    //# end

    // Loads of the other side's rows begin before the previous block is multiplied.
    //# for t in refill
    let from_$t = place_of(invocation + ${t}u * THREADS).x;
    let column_$t = place_of(invocation + ${t}u * THREADS).y;
    //# end
    //# if key_gradient
    let begin = first / KEYS * KEYS;
    let end = SEQUENCE;
    //# else
    let begin = 0u;
    let end = min(first + ROWS, SEQUENCE);
    //# end
    //# for t in refill
    var next_$t = left_at(at, begin + from_$t, column_$t);
    //# end
    for (var block = begin; block < end; block += KEYS) {
        workgroupBarrier();
        //# for t in refill
        put_other(invocation + ${t}u * THREADS, next_$t);
        //# end
        workgroupBarrier();
        //# for t in refill
        next_$t = right_at(at, block + from_$t, column_$t);
        //# end

        // Scores.
        //# for h in high
        //# for w in keys
        var s_${h}_$w = coop_mat${side}x${side}<f32, C>();
        //# end
        //# end
        //# import attention/units/products with mine = a
        workgroupBarrier();
        //# for r in rows
        //# for c in cells
        var t_${r}_$c = shown_at(row_$r, member + ${c}u * TEAM) * SCALE;
        //# if capped
        t_${r}_$c = capped(t_${r}_$c);
        //# end
        //# end
        //# end
        //# for t in refill
        //# if forward
        put_turned(invocation + ${t}u * THREADS, next_$t);
        //# else
        put_other(invocation + ${t}u * THREADS, next_$t);
        //# end
        //# end
        var grows = false;

        //# if forward
        //# import attention/units/forward
        //# else
        //# import attention/units/backward
        //# end

        let any = subgroupAny(grows);
        if lane == 0u {
            grown[subgroup] = u32(any);
        }
        workgroupBarrier();
        //# for t in refill
        next_$t = left_at(at, block + KEYS + from_$t, column_$t);
        //# end
        let growing = 0u
            //# for n in subgroups
            | grown[$n]
            //# end
            ;
        if growing > 0u {
            //# insert rescale
        }
        //# import attention/units/sums with sum = x
    }

    // The final factor of a row's sums.
    workgroupBarrier();
    //# for r in rows
    {
        //# if forward
        let total = team_sum(sum_$r);
        let log_sum = log(total);
        let broken = select(0u, EXPONENT, team_most(broken_$r) > 0.0);
        //# if entropy
        let nats = max(log_sum - team_sum(moment_$r) / total, 0.0);
        //# end
        if member == 0u {
            factors[row_$r] = 1.0 / (FORWARD * total);
        }
        if member == 0u && i_$r < SEQUENCE {
            lse[line + i_$r] = bitcast<f32>(bitcast<u32>(peak_$r + log_sum) | broken);
            //# if entropy
            entropy[line + i_$r] = bitcast<f32>(bitcast<u32>(nats) | broken);
            //# end
        }
        //# else
        if member == 0u {
            factors[row_$r] = select(0.0, SCALE / power_$r, power_$r > 0.0);
        }
        //# if query_gradient
        if member == 0u && i_$r < SEQUENCE {
            delta[line + i_$r] = delta_$r;
        }
        //# end
        //# end
    }
    //# end
    //# insert stores_x
    //# if key_gradient
    //# insert stores_y
    //# end
}
