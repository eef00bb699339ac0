// The tensors and the workgroup memory of attention/units.wgsl, and the functions that read and write them.
//# flags forward query_gradient key_gradient entropy guided whole even: as in units.wgsl
//# numbers across turns four: as in units.wgsl

//# import attention/tensors with images = false, element = f16, texel = none

// Rows of the other side; columns past the head's are zero. Matrix units need the axis that products run along to be
// contiguous: columns for scores, and rows for sums, for which the block is turned.
var<workgroup> other: array<f16, max(max(KEYS * OTHER, WIDE * TURNED), ROWS * ACROSS * SIDE)>;
var<workgroup> shown: array<f32, ACROSS * ROWS * SHOWN>; // parts of scores, then other fragments
var<workgroup> weights: array<f16, ROWS * WEIGHTS>; // of the other side's rows, for the sums of this side's
var<workgroup> factors: array<f32, ROWS>; // for a row's sums
var<workgroup> grown: array<u32, DOWN * ACROSS>; // whether a subgroup has a row with a new power

// The vec4 of a head's row: `at` holds the head's first column and the first row of its batch element; part 0 is q, 1 k and
// 2 v. Rows past the end read the last row instead: memory after a tensor may hold anything.
fn packed_at(at: vec2<u32>, part: u32, row: u32, column: u32) -> vec4<f16> {
    let start = ((at.y + min(row, SEQUENCE - 1u)) * 3u + part) * HEADS * COLUMNS + at.x;
    //# if whole
    return qkv[start + column];
    //# else
    return select(vec4<f16>(), qkv[start + min(column, COLUMNS - 1u)], column < COLUMNS);
    //# end
}

//# if forward
//# else
fn d_output_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f16> {
    let start = (at.y + min(row, SEQUENCE - 1u)) * HEADS * COLUMNS + at.x;
    //# if whole
    return d_output[start + column];
    //# else
    return select(vec4<f16>(), d_output[start + min(column, COLUMNS - 1u)], column < COLUMNS);
    //# end
}
//# end

// Rows of the other side: `left` are factors of the scores; `right` are factors of the slopes or, in the forward pass, what
// is summed.
fn left_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f16> {
    //# if key_gradient
    return packed_at(at, 0u, row, column);
    //# else
    return packed_at(at, 1u, row, column);
    //# end
}

fn right_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f16> {
    //# if key_gradient
    return d_output_at(at, row, column);
    //# else
    return packed_at(at, 2u, row, column);
    //# end
}

// The same for this side.
fn own_left_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f16> {
    //# if key_gradient
    return packed_at(at, 1u, row, column);
    //# else
    return packed_at(at, 0u, row, column);
    //# end
}

//# if forward
//# else
fn own_right_at(at: vec2<u32>, row: u32, column: u32) -> vec4<f16> {
    //# if key_gradient
    return packed_at(at, 2u, row, column);
    //# else
    return d_output_at(at, row, column);
    //# end
}
//# end

fn put(first: u32, value: vec4<f16>) {
    //# for e in four
    other[first + ${e}u] = value[$e];
    //# end
}

// Row and vec4 column of one of the VECTORS of a block: neighbouring lanes have successive rows, so that a turned block's
// elements go to different banks.
fn place_of(vector: u32) -> vec2<u32> {
    let v = min(vector, VECTORS - 1u);
    return vec2(v % BELOW + v / (BELOW * WIDE / 4u) * BELOW, v / BELOW % (WIDE / 4u));
}

fn put_other(vector: u32, value: vec4<f16>) {
    let place = place_of(vector);
    //# if even
    put(place.x * OTHER + 4u * place.y, value);
    //# else
    if vector < VECTORS {
        put(place.x * OTHER + 4u * place.y, value);
    }
    //# end
}

// The same, with rows and columns exchanged.
fn put_turned(vector: u32, value: vec4<f16>) {
    let place = place_of(vector);
    //# if even
    //# for e in four
    other[(4u * place.y + ${e}u) * TURNED + place.x] = value[$e];
    //# end
    //# else
    if vector < VECTORS {
        //# for e in four
        other[(4u * place.y + ${e}u) * TURNED + place.x] = value[$e];
        //# end
    }
    //# end
}

fn put_weights(first: u32, value: vec4<f16>) {
    //# for e in four
    weights[first + ${e}u] = value[$e];
    //# end
}

fn finished_at(row: u32, cell: u32) -> vec4<f32> {
    let first = row * SHOWN + 4u * cell;
    return vec4(shown[first], shown[first + 1u], shown[first + 2u], shown[first + 3u]);
}

// Four scores or slopes, added up from their parts.
fn shown_at(row: u32, cell: u32) -> vec4<f32> {
    var sum = vec4<f32>();
    //# for a in across
    sum += finished_at(${a}u * ROWS + row, cell);
    //# end
    return sum;
}

fn team_most(own: f32) -> f32 {
    var most = own;
    //# for b in turns
    most = max(most, subgroupShuffleXor(most, 1u << ${b}u));
    //# end
    return most;
}

fn team_sum(own: f32) -> f32 {
    var sum = own;
    //# for b in turns
    sum += subgroupShuffleXor(sum, 1u << ${b}u);
    //# end
    return sum;
}
