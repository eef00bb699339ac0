// out[n] = Σ_rows x[row, n] (+ out[n]) over the first COLUMNS columns: sums of blocks of rows, then their sum. With
// `nonzero` it counts the x that are not zero.
//# flags images: x of whole vectors is read as an image
//# flags half: x is f16
//# flags nonzero: counts what is not zero
//# numbers lanes: of a workgroup
//# texts element: how x is stored
//# texts texel: the format of an image of it
//# import shared/narrow

override ROWS: u32;
override WIDTH: u32; // columns of x
override COLUMNS: u32; // columns that are summed
override ROWS_EACH: u32; // rows per block
override BLOCKS: u32;
override ACCUMULATE: bool;

const LANES = ${lanes}u;

//# if nonzero
// Tested by their bits: drivers differ in comparisons with NaN.
fn term(v: f32) -> f32 {
    return select(0.0, 1.0, (bitcast<u32>(v) & 0x7fffffffu) != 0u);
}

fn term4(v: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), (bitcast<vec4<u32>>(v) & vec4(0x7fffffffu)) != vec4(0u));
}
//# else
fn term(v: f32) -> f32 {
    return v;
}

fn term4(v: vec4<f32>) -> vec4<f32> {
    return v;
}
//# end

@group(0) @binding(0) var<storage, read> x: array<$element>; // [ROWS, WIDTH]
//# import shared/operand with name = x4, slot = 0, of = vec4<$element> // [ROWS, WIDTH / 4]
@group(0) @binding(1) var<storage, read_write> sums: array<f32>; // [BLOCKS, COLUMNS rounded up to vectors]
@group(0) @binding(1) var<storage, read_write> sums4: array<vec4<f32>>; // the same
@group(0) @binding(0) var<storage, read> partials: array<f32>; // the same
@group(0) @binding(1) var<storage, read_write> out: array<f32>; // [COLUMNS]

// A lane sums one column of block `group.y`.
@compute @workgroup_size(LANES)
fn partial(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column < COLUMNS {
        let first = group.y * ROWS_EACH;
        var sum = 0.0;
        for (var row = first; row < min(first + ROWS_EACH, ROWS); row++) {
            sum += term(f32(x[row * WIDTH + column]));
        }
        sums[group.y * ((COLUMNS + 3u) / 4u * 4u) + column] = sum;
    }
}

// The same for rows of whole vectors: a lane sums four columns.
@compute @workgroup_size(LANES)
fn partial_whole(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let vector = group.x * LANES + lane;
    let vectors = (COLUMNS + 3u) / 4u;
    if vector < vectors {
        let first = group.y * ROWS_EACH;
        var sum = vec4<f32>();
        for (var row = first; row < min(first + ROWS_EACH, ROWS); row++) {
            //# if images
            sum += term4(textureLoad(x4, vec2(vector, row)));
            //# else
            sum += term4(vec4<f32>(x4[row * (WIDTH / 4u) + vector]));
            //# end
        }
        sums4[group.y * vectors + vector] = sum;
    }
}

// Adds up the blocks.
@compute @workgroup_size(LANES)
fn total(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let column = group.x * LANES + lane;
    if column < COLUMNS {
        var sum = 0.0;
        for (var block = 0u; block < BLOCKS; block++) {
            sum += partials[block * ((COLUMNS + 3u) / 4u * 4u) + column];
        }
        if ACCUMULATE {
            sum += out[column];
        }
        out[column] = sum;
    }
}
