// Causal attention with the entropy of every row, in one pass over the keys, and its gradient in two; for software drivers.
// GPUs have attention/blocks.wgsl and attention/units.wgsl. No kernel holds the T x T matrix.
//
// A lane holds `rows` rows of one side (forward and query_gradient: queries; key_gradient: keys) in registers and walks the
// other side in tiles. Every lane gets each row of a tile in one of two variants:
// - shuffle: the workgroup is one subgroup; each lane loads one row, and the others read its registers;
// - otherwise: the tile lies in workgroup memory.
//# flags forward query_gradient key_gradient: the one entry point
//# flags shuffle
//# flags held: a lane's own rows stay in registers; else they are read again for every few keys
//# flags images: inputs are read as images
//# flags half: qkv, output and their gradients are f16
//# flags entropy: the entropy is written as well
//# flags guided: a gradient arrives at the entropy as well
//# flags capped: scores are capped
//# numbers columns: vec4s of a head's row
//# numbers lanes rows
//# numbers keys: rows of the tile that are taken at once
//# numbers tile: rows of the other side
//# texts element: how qkv, output and their gradients are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# import shared/narrow

//# if shuffle
enable subgroups;
//# end
override HEADS: u32; // H
override SEQUENCE: u32; // T
override SCALE: f32; // 1 / sqrt(head width)

const COLUMNS = ${columns}u;
const LANES = ${lanes}u;
const ROWS = ${rows}u * LANES; // rows per workgroup
const TILE = ${tile}u;
const MASKED = -1e30; // the score of a later key: finite, because WGSL has no infinities
const EXPONENT = 0x7f800000u; // all ones in every number that is not finite

//# import attention/tensors

//# if capped
//# import attention/cap with of = f32
//# end

//# if shuffle
//# else
var<workgroup> left: array<vec4<f32>, TILE * COLUMNS>; // [TILE, COLUMNS]: keys, or queries
var<workgroup> right: array<vec4<f32>, TILE * COLUMNS>; // [TILE, COLUMNS]: values, or gradients of the output
//# if key_gradient
var<workgroup> tile_lse: array<f32, TILE>;
var<workgroup> tile_delta: array<f32, TILE>;
//# if guided
var<workgroup> tile_guide: array<f32, TILE>;
//# end
//# end
//# end

// The vec4 in row `place.y` and column `place.x + right`.
fn qkv_at(place: vec2<u32>, right: u32) -> vec4<f32> {
    //# if images
    return textureLoad(qkv, vec2(place.x + right, place.y));
    //# else
    return vec4<f32>(qkv[place.y * 3u * HEADS * COLUMNS + place.x + right]);
    //# end
}

//# if forward
//# else
fn d_output_at(place: vec2<u32>, right: u32) -> vec4<f32> {
    //# if images
    return textureLoad(d_output, vec2(place.x + right, place.y));
    //# else
    return vec4<f32>(d_output[place.y * HEADS * COLUMNS + place.x + right]);
    //# end
}
//# end

//# if query_gradient
fn output_at(place: vec2<u32>, right: u32) -> vec4<f32> {
    //# if images
    return textureLoad(output, vec2(place.x + right, place.y));
    //# else
    return vec4<f32>(output[place.y * HEADS * COLUMNS + place.x + right]);
    //# end
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
    //# if shuffle
    @builtin(subgroup_invocation_id) lane: u32,
    //# else
    @builtin(local_invocation_index) lane: u32,
    //# end
) {
    let width = HEADS * COLUMNS; // vec4s of a row of output; a third of a row of qkv
    let column = group.y * COLUMNS;
    let token = group.z * SEQUENCE; // first row of the batch element
    let line = (group.z * HEADS + group.y) * SEQUENCE; // the same in lse, entropy and delta
    let first = group.x * ROWS;

    // Rows past the end read the last row instead: memory after a tensor may hold anything.
    //# for r in rows
    let i_$r = first + ${r}u * LANES + lane;
    let near_$r = min(i_$r, SEQUENCE - 1u);
    //# if key_gradient
    let own_$r = vec2(width + column, token + near_$r); // column and row in qkv
    //# else
    let own_$r = vec2(column, token + near_$r); // column and row in qkv
    let out_$r = own_$r; // the same in output
    //# end
    //# if held
    //# for c in columns
    let q_${r}_$c = qkv_at(own_$r, ${c}u) * SCALE;
    //# if key_gradient
    let v_${r}_$c = qkv_at(own_$r, width + ${c}u);
    //# end
    //# end
    //# end
    //# if forward
    var peak_$r = MASKED;
    var sum_$r = 0.0;
    var moment_$r = 0.0; // sum of e^(s - peak) * (s - peak)
    var broken_$r = 0u; // EXPONENT once a score was not finite
    //# end
    //# if query_gradient
    let lse_$r = lse[line + near_$r];
    //# if guided
    let guide_$r = d_entropy[line + near_$r];
    var delta_$r = guide_$r * entropy[line + near_$r];
    //# else
    var delta_$r = 0.0;
    //# end
    //# for c in columns
    //# if held
    let g_${r}_$c = d_output_at(out_$r, ${c}u);
    delta_$r += dot(g_${r}_$c, output_at(out_$r, ${c}u));
    //# else
    delta_$r += dot(d_output_at(out_$r, ${c}u), output_at(out_$r, ${c}u));
    //# end
    //# end
    //# end
    //# for c in columns
    var x_${r}_$c = vec4<f32>();
    //# if key_gradient
    var y_${r}_$c = vec4<f32>();
    //# end
    //# end
    //# end

    //# if key_gradient
    let end = SEQUENCE;
    for (var block = first / TILE * TILE; block < end; block += TILE) {
    //# else
    let end = min(first + ROWS, SEQUENCE);
    for (var block = 0u; block < end; block += TILE) {
    //# end
        //# if shuffle
        let sub = 0u;
        let other = min(block + lane, SEQUENCE - 1u);
        //# if key_gradient
        let from_left = vec2(column, token + other);
        let from_right = from_left;
        let lane_lse = lse[line + other];
        let lane_delta = delta[line + other];
        //# if guided
        let lane_guide = d_entropy[line + other];
        //# end
        //# else
        let from_left = vec2(width + column, token + other);
        let from_right = vec2(2u * width + column, token + other);
        //# end
        //# for c in columns
        let left_$c = qkv_at(from_left, ${c}u);
        //# end
        //# else
        workgroupBarrier();
        for (var n = lane; n < TILE * COLUMNS; n += LANES) {
            let row = token + min(block + n / COLUMNS, SEQUENCE - 1u);
            let place = column + n % COLUMNS;
            //# if key_gradient
            left[n] = qkv_at(vec2(place, row), 0u);
            right[n] = d_output_at(vec2(place, row), 0u);
            //# else
            left[n] = qkv_at(vec2(place, row), width);
            right[n] = qkv_at(vec2(place, row), 2u * width);
            //# end
        }
        //# if key_gradient
        for (var n = lane; n < TILE; n += LANES) {
            let row = line + min(block + n, SEQUENCE - 1u);
            tile_lse[n] = lse[row];
            tile_delta[n] = delta[row];
            //# if guided
            tile_guide[n] = d_entropy[row];
            //# end
        }
        //# end
        workgroupBarrier();
        for (var sub = 0u; sub < min(TILE, end - block); sub += ${keys}u) {
        //# end

        // Scores.
        //# for r in rows
        //# for j in keys
        var s_${r}_$j = 0.0;
        //# end
        //# end
        //# for c in columns
        {
            //# if held
            //# else
            //# for r in rows
            let q_${r}_$c = qkv_at(own_$r, ${c}u) * SCALE;
            //# end
            //# end
            //# for j in keys
            //# import attention/rows/handed with side = left
            //# for r in rows
            s_${r}_$j += dot(q_${r}_$c, a_$j);
            //# end
            //# end
        }
        //# end

        //# if capped
        //# for r in rows
        //# for j in keys
        s_${r}_$j = capped(s_${r}_$j);
        //# if forward
        //# else
        let slope_${r}_$j = cap_slope(s_${r}_$j);
        //# end
        //# end
        //# end
        //# end

        //# if forward
        //# import attention/rows/forward
        //# else
        //# if query_gradient
        //# import attention/rows/query_gradient
        //# else
        //# import attention/rows/key_gradient
        //# end

        // Gradients of the scores.
        //# for r in rows
        //# for j in keys
        s_${r}_$j *= p_${r}_$j;
        //# if capped
        s_${r}_$j *= slope_${r}_$j;
        //# end
        //# end
        //# end
        //# for c in columns
        {
            //# for j in keys
            //# import attention/rows/handed with side = left
            //# for r in rows
            x_${r}_$c += s_${r}_$j * a_$j;
            //# end
            //# end
        }
        //# end
        //# end
        //# if shuffle
        //# else
        }
        //# end
    }

    //# for r in rows
    if i_$r < SEQUENCE {
        //# if forward
        let share_$r = 1.0 / sum_$r;
        let log_sum_$r = log(sum_$r);
        //# for c in columns
        output[out_$r.y * width + out_$r.x + ${c}u] = ${narrow}(x_${r}_$c * share_$r);
        //# end
        lse[line + i_$r] = bitcast<f32>(bitcast<u32>(peak_$r + log_sum_$r) | broken_$r);
        //# if entropy
        let nats_$r = max(log_sum_$r - moment_$r * share_$r, 0.0);
        entropy[line + i_$r] = bitcast<f32>(bitcast<u32>(nats_$r) | broken_$r);
        //# end
        //# else
        //# for c in columns
        d_qkv[own_$r.y * 3u * width + own_$r.x + ${c}u] = ${narrow}(x_${r}_$c * SCALE);
        //# if key_gradient
        d_qkv[own_$r.y * 3u * width + own_$r.x + width + ${c}u] = ${narrow}(y_${r}_$c);
        //# end
        //# end
        //# if query_gradient
        delta[line + i_$r] = delta_$r;
        //# end
        //# end
    }
    //# end
}
