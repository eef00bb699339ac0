// Attention of new rows over a cache of keys and values: `append` puts the rows' keys and values into the cache, `attend`
// reads it. A workgroup is one team, and takes one head of one row: its lanes divide the keys among themselves to compute
// the scores, then the columns to sum the values.
//# flags sink: the denominator of the softmax has one more logit for each head
//# flags capped: scores are capped
//# numbers lanes: of a workgroup that appends
//# texts team: subgroup or workgroup
//# import shared/team_$team

override ROWS: u32; // new rows, R
override HEADS: u32; // H
override COLUMNS: u32; // vec4s of a head's row
override CAPACITY: u32; // rows of the cache, C
override SCALE: f32; // 1 / sqrt(head width)

//# if capped
//# import attention/cap with of = f32
//# end

const MASKED = -1e30; // below every score: finite, because WGSL has no infinities
const APPEND_LANES = ${lanes}u;

@group(0) @binding(0) var<storage, read> qkv: array<vec4<f32>>; // [R, 3*H*COLUMNS]: q | k | v
@group(0) @binding(1) var<storage, read> positions: array<u32>; // [R]; a row at C or beyond is missing
@group(0) @binding(2) var<storage, read_write> kept: array<vec4<f32>>; // [C, 2*H*COLUMNS]: k | v
@group(0) @binding(2) var<storage, read> cache: array<vec4<f32>>; // the same
//# if sink
@group(0) @binding(5) var<storage, read> sinks: array<f32>; // [H]
//# end
@group(0) @binding(3) var<storage, read_write> scores: array<f32>; // [R, H, C]: scores, then e^(score - largest)
@group(0) @binding(4) var<storage, read_write> output: array<vec4<f32>>; // [R, H*COLUMNS]

var<workgroup> parts: array<vec4<f32>, TEAM>;

@compute @workgroup_size(APPEND_LANES)
fn append(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.x + group.y * groups.x) * APPEND_LANES + lane;
    let width = HEADS * COLUMNS;
    let row = i / (2u * width);
    if row >= ROWS {
        return;
    }
    let column = i % (2u * width);
    let position = positions[row];
    if position < CAPACITY {
        kept[position * 2u * width + column] = qkv[row * 3u * width + width + column];
    }
}

// group: head, row.
@compute @workgroup_size(TEAM)
fn attend(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let width = HEADS * COLUMNS;
    let head = group.x * COLUMNS;
    let query = group.y * 3u * width + head;
    let line = (group.y * HEADS + group.x) * CAPACITY;
    let position = positions[group.y];
    let keys = select(0u, position + 1u, position < CAPACITY);

    var peak = MASKED;
    for (var j = lane; j < keys; j += TEAM) {
        let key = j * 2u * width + head;
        var score = 0.0;
        for (var c = 0u; c < COLUMNS; c++) {
            score += dot(qkv[query + c], cache[key + c]);
        }
        score *= SCALE;
        //# if capped
        score = capped(score);
        //# end
        scores[line + j] = score;
        peak = max(peak, score);
    }
    peak = team_max(peak, lane);
    var sum = 0.0;
    for (var j = lane; j < keys; j += TEAM) {
        let e = exp(scores[line + j] - peak);
        scores[line + j] = e;
        sum += e;
    }
    sum = team_sum(sum, lane);
    //# if sink
    sum += exp(sinks[group.x] - peak);
    //# end
    let share = select(0.0, 1.0 / sum, keys > 0u);
    // Makes the other lanes' scores visible.
    storageBarrier();
    workgroupBarrier();

    // Takes as many keys at a time as there are lanes for, after one lane for each of the head's columns.
    let span = min(TEAM, COLUMNS);
    let turns = TEAM / span;
    let turn = lane / span;
    for (var first = 0u; first < COLUMNS; first += span) {
        let column = first + lane % span;
        let works = turn < turns && column < COLUMNS;
        var total = vec4<f32>();
        for (var j = select(keys, turn, works); j < keys; j += turns) {
            total += scores[line + j] * cache[j * 2u * width + width + head + column];
        }
        parts[lane] = total;
        workgroupBarrier();
        if works && turn == 0u {
            for (var other = 1u; other < turns; other++) {
                total += parts[lane + other * span];
            }
            output[group.y * width + head + column] = total * share;
        }
        workgroupBarrier();
    }
}
