// The norm, the largest and the median of the magnitudes of x. Magnitudes are ordered by their bits, which orders finite
// ones by size and puts NaN above all. The search for the median finds its bits one hexadecimal digit at a time, the
// highest first: among the magnitudes that share the digits known so far, it counts those with each next digit.
//# flags images: x is read as an image
//# numbers lanes: of a workgroup
//# numbers digits bins

override ELEMENTS: u32; // in x, or this window of it; the last vector may hold fewer than four
override PART: u32; // where this window's shares start
override EACH: u32; // vectors per lane
override PARTS: u32; // workgroups of all windows
override DIGIT: u32; // the digit that is counted, 0 for the highest
override RANK: u32; // magnitudes below the median

const LANES = ${lanes}u;
const DIGITS = ${digits}u; // in 32 bits
const BINS = ${bins}u; // values of a digit

// Each workgroup's sum of squares, and its largest magnitude.
struct Share {
    squares: f32,
    largest: u32,
}

// The part of the median's bits that is known.
struct Known {
    digits: u32, // the first ones
    rank: u32, // magnitudes that share them and are below the median
}

//# if images
override TEXELS: u32; // vectors of a row of x
//# end
//# import shared/operand with name = x, slot = 0, of = vec4<f32>, texel = rgba32float // [ELEMENTS / 4, rounded up]
@group(0) @binding(1) var<storage, read_write> shares: array<Share>; // [PARTS]
@group(0) @binding(2) var<storage, read_write> counts: array<u32>; // [DIGITS, PARTS, BINS]
@group(0) @binding(3) var<storage, read_write> known: array<Known>; // [DIGITS]: before each digit
@group(0) @binding(4) var<storage, read_write> out: array<f32>; // norm, largest, and the median if it is searched for

var<workgroup> squares_of: array<f32, LANES>;
var<workgroup> largest_of: array<u32, LANES>;
var<workgroup> counts_of: array<vec4<u32>, LANES * 4u>; // [LANES, BINS / 4]
var<workgroup> totals: array<u32, BINS>;

//# import shared/operand_at with name = x

fn inside(i: u32) -> vec4<bool> {
    return vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(ELEMENTS);
}

fn magnitude(v: vec4<f32>) -> vec4<u32> {
    return bitcast<vec4<u32>>(v) & vec4(0x7fffffffu);
}

fn first_vector(group: vec3<u32>, lane: u32) -> u32 {
    return group.x * LANES * EACH + lane;
}

@compute @workgroup_size(LANES)
fn survey(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let first = first_vector(group, lane);
    var squares = vec4(0.0);
    var largest = vec4(0u);
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if 4u * i < ELEMENTS {
            // Memory after the last element may hold anything.
            let v = select(vec4(0.0), x_at(i), inside(i));
            squares += v * v;
            largest = max(largest, magnitude(v));
        }
    }
    squares_of[lane] = (squares.x + squares.y) + (squares.z + squares.w);
    largest_of[lane] = max(max(largest.x, largest.y), max(largest.z, largest.w));
    workgroupBarrier();
    if lane == 0u {
        var share = Share(0.0, 0u);
        for (var other = 0u; other < LANES; other++) {
            share = Share(share.squares + squares_of[other], max(share.largest, largest_of[other]));
        }
        shares[PART + group.x] = share;
    }
}

// The part that is known before digit `digit`: the part known before the previous digit, and that digit's value, found from
// its counts. Every lane of a workgroup calls this and gets the same result.
fn known_before(digit: u32, lane: u32) -> Known {
    if lane < BINS && digit > 0u {
        var total = 0u;
        for (var part = 0u; part < PARTS; part++) {
            total += counts[((digit - 1u) * PARTS + part) * BINS + lane];
        }
        totals[lane] = total;
    }
    workgroupBarrier();
    if digit == 0u {
        return Known(0u, RANK);
    }
    var rank = known[digit - 1u].rank;
    var value = 0u;
    // The median is among the counted magnitudes, so its digit is found before the counts run out.
    while value < BINS - 1u && rank >= totals[value] {
        rank -= totals[value];
        value++;
    }
    return Known((known[digit - 1u].digits << 4u) | value, rank);
}

// For each of `bins`, how many of the four values equal it.
fn hits(values: vec4<u32>, bins: vec4<u32>) -> vec4<u32> {
    let one = vec4(1u);
    let none = vec4(0u);
    return (select(none, one, bins == values.xxxx) + select(none, one, bins == values.yyyy))
        + (select(none, one, bins == values.zzzz) + select(none, one, bins == values.wwww));
}

@compute @workgroup_size(LANES)
fn count(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let before = known_before(DIGIT, lane);
    let first = first_vector(group, lane);
    var zero_to_three = vec4(0u);
    var four_to_seven = vec4(0u);
    var eight_to_eleven = vec4(0u);
    var twelve_to_fifteen = vec4(0u);
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if 4u * i < ELEMENTS {
            let bits = magnitude(x_at(i));
            // The digits so far, followed by this one. There is no shift by 32, which would shift by nothing.
            let leading = bits >> vec4(28u - 4u * DIGIT);
            let counted = inside(i) & ((leading >> vec4(4u)) == vec4(before.digits));
            let value = select(vec4(BINS), leading & vec4(15u), counted);
            zero_to_three += hits(value, vec4(0u, 1u, 2u, 3u));
            four_to_seven += hits(value, vec4(4u, 5u, 6u, 7u));
            eight_to_eleven += hits(value, vec4(8u, 9u, 10u, 11u));
            twelve_to_fifteen += hits(value, vec4(12u, 13u, 14u, 15u));
        }
    }
    counts_of[4u * lane] = zero_to_three;
    counts_of[4u * lane + 1u] = four_to_seven;
    counts_of[4u * lane + 2u] = eight_to_eleven;
    counts_of[4u * lane + 3u] = twelve_to_fifteen;
    workgroupBarrier();
    if lane < BINS / 4u {
        var total = vec4(0u);
        for (var other = 0u; other < LANES; other++) {
            total += counts_of[4u * other + lane];
        }
        let at = (DIGIT * PARTS + group.x) * BINS + 4u * lane;
        for (var e = 0u; e < 4u; e++) {
            counts[at + e] = total[e];
        }
    }
    if group.x == 0u && lane == 0u {
        known[DIGIT] = before;
    }
}

// Norm and largest from all shares, always in the same order.
fn add_shares() {
    var whole = Share(0.0, 0u);
    for (var part = 0u; part < PARTS; part++) {
        whole = Share(whole.squares + shares[part].squares, max(whole.largest, shares[part].largest));
    }
    out[0] = sqrt(whole.squares);
    out[1] = bitcast<f32>(whole.largest);
}

@compute @workgroup_size(1)
fn finish() {
    add_shares();
}

@compute @workgroup_size(LANES)
fn finish_with_median(@builtin(local_invocation_index) lane: u32) {
    let found = known_before(DIGITS, lane);
    if lane == 0u {
        add_shares();
        out[2] = bitcast<f32>(found.digits);
    }
}
