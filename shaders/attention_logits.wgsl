// Of every head: its largest logit, the mean variance of a query's logits, the mean weight of the first key and of the latest ones,
// and for each quarter of the context the mean entropy of its queries, as a share of the largest that their keys allow.
// A lane scores one query, a few keys at a time; shares of workgroups are then combined in their order.
//# flags images: qkv is read as an image
//# flags half: qkv is f16
//# flags capped: scores are capped
//# numbers lanes: queries of a workgroup
//# numbers keys: scored at a time
//# numbers recent: keys that count as the latest
//# numbers quarters: parts of the context
//# numbers numbers: of a share
//# texts element: how qkv is stored
//# texts texel: the format of an image of it
//# if half
enable f16;
//# end

override HEADS: u32; // H
override SEQUENCE: u32; // T
override COLUMNS: u32; // vec4s of a head's row
override SCALE: f32; // of a product of query and key
override BLOCKS: u32; // workgroups that share a sequence
override PARTS: u32; // shares of a head
override QUERIES: u32; // B*T

const LANES = ${lanes}u;
const NUMBERS = ${numbers}u;
const QUARTERS = ${quarters}u;

//# import shared/operand with name = qkv, slot = 0, of = vec4<$element> // [B*T, 3*H*COLUMNS]: q | k | v
@group(0) @binding(1) var<storage, read> lse: array<f32>; // [B, H, T]
@group(0) @binding(2) var<storage, read_write> shares: array<f32>; // [B, BLOCKS, H, NUMBERS]
@group(0) @binding(3) var<storage, read_write> out: array<f32>; // [8*H]

//# import shared/finite

//# if capped
//# import attention/cap with of = f32
//# end

fn qkv_at(column: u32, row: u32) -> vec4<f32> {
    //# if images
    return textureLoad(qkv, vec2(column, row));
    //# else
    return vec4<f32>(qkv[row * 3u * HEADS * COLUMNS + column]);
    //# end
}

var<workgroup> numbers: array<array<f32, ${numbers}>, ${lanes}>;

@compute @workgroup_size(${lanes})
fn survey(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    let first_row = group.z * SEQUENCE;
    let position = group.y * LANES + lane;
    let seen = min(position, SEQUENCE - 1u);
    let own_lse = lse[(group.z * HEADS + head) * SEQUENCE + seen];
    let query = head * COLUMNS;
    let key = (HEADS + head) * COLUMNS;
    var most = -3.4e38;
    var shift = 0.0;
    var sum = 0.0;
    var squares = 0.0;
    var sink = 0.0;
    var recent = 0.0;
    var entropy = 0.0;
    // The last query of the workgroup sees the most keys.
    let end = min(group.y * LANES + LANES, SEQUENCE);
    for (var first = 0u; first < end; first += ${keys}u) {
        //# for j in keys
        var s$j = vec4(0.0);
        //# end
        for (var c = 0u; c < COLUMNS; c++) {
            let q = qkv_at(query + c, first_row + seen);
            //# for j in keys
            s$j += q * qkv_at(key + c, first_row + min(first + ${j}u, SEQUENCE - 1u));
            //# end
        }
        //# for j in keys
        {
            //# if capped
            let score = capped(SCALE * ((s$j.x + s$j.y) + (s$j.z + s$j.w)));
            //# else
            let score = SCALE * ((s$j.x + s$j.y) + (s$j.z + s$j.w));
            //# end
            let at = first + ${j}u;
            let visible = at <= seen;
            let weight = select(0.0, exp(score - own_lse), visible);
            shift = select(shift, score, at == 0u);
            sink = select(sink, weight, at == 0u);
            entropy += select(0.0, weight * (own_lse - score), visible);
            recent += select(0.0, weight, at + ${recent}u > seen);
            let away = select(0.0, score - shift, visible);
            sum += away;
            squares += away * away;
            most = select(most, max(most, score), visible);
        }
        //# end
    }
    // Rows that are not finite are counted, not added: drivers differ in what they do with NaN.
    let counts = position < SEQUENCE && is_finite(own_lse);
    let keys = f32(seen + 1u);
    let variance = max(squares - sum * sum / keys, 0.0) / keys;
    let normalized = entropy / log(max(keys, 2.0));
    let quarter = QUARTERS * seen / SEQUENCE;
    numbers[lane] = array<f32, ${numbers}>(
        select(-3.4e38, most, counts),
        select(0.0, variance, counts),
        select(0.0, sink, counts),
        select(0.0, recent, counts),
        //# for j in quarters
        select(0.0, normalized, counts && seen > 0u && quarter == ${j}u),
        //# end
        select(0.0, 1.0, counts),
    );
    workgroupBarrier();
    if lane < NUMBERS {
        var all = numbers[0][lane];
        for (var other = 1u; other < LANES; other++) {
            let more = numbers[other][lane];
            all = select(all + more, max(all, more), lane == 0u);
        }
        shares[((group.z * BLOCKS + group.y) * HEADS + head) * NUMBERS + lane] = all;
    }
}

// The queries over which a number other than the largest is a mean; the first of a sequence is in no quarter.
fn counted(number: u32) -> u32 {
    let first = NUMBERS - 1u - QUARTERS;
    if number < first {
        return QUERIES;
    }
    let quarter = number - first;
    let start = (quarter * SEQUENCE + QUARTERS - 1u) / QUARTERS;
    let end = ((quarter + 1u) * SEQUENCE + QUARTERS - 1u) / QUARTERS;
    return QUERIES / SEQUENCE * max(max(end, 1u) - max(start, 1u), 1u);
}

var<workgroup> totals: array<f32, ${numbers}>;

@compute @workgroup_size(${lanes})
fn finish(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let head = group.x;
    if lane < NUMBERS {
        var all = shares[head * NUMBERS + lane];
        for (var part = 1u; part < PARTS; part++) {
            let more = shares[(part * HEADS + head) * NUMBERS + lane];
            all = select(all + more, max(all, more), lane == 0u);
        }
        totals[lane] = all;
    }
    workgroupBarrier();
    if lane < NUMBERS - 1u {
        let count = totals[NUMBERS - 1u];
        let value = select(totals[lane] / f32(counted(lane)), totals[lane], lane == 0u);
        // WGSL has no constant for NaN, so it is made from its bits.
        let nan = bitcast<f32>(0x7fc00000u | lane);
        out[lane * HEADS + head] = select(nan, value, u32(count) == QUERIES);
    }
}
