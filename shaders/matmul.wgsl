// C[M, N] = A · B, where A is stored as [M, K] or [K, M], and B as [K, N] or [N, K].
//
// src/ops/matmul/text.rs makes the inserted texts. Kernels read four elements at a time along the axis that is contiguous
// in memory. A and B are stored in f32 or f16, and so is C; sums are f32.
//# flags a_image b_image addend_image: read as images
//# flags a_whole b_whole c_whole: rows are whole vec4s
//# flags a_transposed b_transposed: A is stored as [K, M], B as [N, K]
//# flags a_turned b_turned: tiles are turned on their way
//# flags a_deep b_deep: lines of tiles run along K
//# flags bias addend accumulate: what is added
//# flags rows tiled cooperative: the variant
//# flags tiles: a variant with tiles
//# flags shuffle: of rows; A is handed round by shuffles
//# flags even: C is made of whole tiles
//# flags split: K is split over workgroups
//# flags sized: shows at which width of subgroups it ran
//# flags half: there is f16 in a buffer
//# numbers lanes: as in matmul/tiled.wgsl
//# texts operand result: how A and B, and how C are stored
//# texts texel: the format of an image of A or B
//# texts narrow1 narrow4: the functions that make C's elements of f32 and of vec4<f32>
//# texts tile: sizes of the variant
//# texts origins accumulators first puts next loads products stores: what is unrolled over a lane's elements
//# import shared/narrow

//# if shuffle
enable subgroups;
//# end
//# if sized
enable subgroups;
//# end
override M: u32;
override N: u32;
override K: u32;
override A_ROWS: u32; // A as stored: [M, K], or [K, M]
override A_COLUMNS: u32;
override B_ROWS: u32; // B as stored: [K, N], or [N, K]
override B_COLUMNS: u32;

//# import matmul/tensor with x = a, slot = 0, image = a_image, whole = a_whole, element = $operand
//# import matmul/tensor with x = b, slot = 1, image = b_image, whole = b_whole, element = $operand
//# if c_whole
@group(0) @binding(2) var<storage, read_write> c: array<vec4<$result>>; // [M, N / 4]
//# else
@group(0) @binding(2) var<storage, read_write> c: array<$result>; // [M, N]
//# end
//# if bias
override BIAS_COLUMNS: u32; // the first columns of C; the others have no bias
@group(0) @binding(3) var<storage, read> bias: array<f32>; // [BIAS_COLUMNS]
//# end
//# if addend
//# import matmul/tensor with x = addend, slot = 4, image = addend_image, whole = c_whole, element = f32, texel = rgba32float
//# end

//# import matmul/read with x = a, X = A, image = a_image, whole = a_whole
//# import matmul/read with x = b, X = B, image = b_image, whole = b_whole
//# if bias
fn bias_at(column: u32) -> vec4<f32> {
    let at = vec4(column) + vec4(0u, 1u, 2u, 3u);
    let i = min(at, vec4(BIAS_COLUMNS - 1u));
    let v = vec4(bias[i.x], bias[i.y], bias[i.z], bias[i.w]);
    return select(vec4(0.0), v, at < vec4(BIAS_COLUMNS));
}
//# end

//# if c_whole
//# else
fn write_one(i: u32, sum: f32) {
    var v = sum;
//# if addend
    v += addend[i];
//# end
//# if accumulate
    v += f32(c[i]);
//# end
    c[i] = ${narrow1}(v);
}
//# end

// Whether C has this row and this column. If C is made of whole tiles, it has every place of a workgroup.
fn is_inside(row: u32, column: u32) -> bool {
//# if even
    return true;
//# else
    return row < M && column < N;
//# end
}

// Finishes and writes C[row, column .. column + 4].
fn write(row: u32, column: u32, sum: vec4<f32>) {
    if is_inside(row, column) {
//# if c_whole
        let i = (row * N + column) / 4u;
        var v = sum;
//# if addend
//# if addend_image
        v += textureLoad(addend, vec2(column / 4u, row));
//# else
        v += addend[i];
//# end
//# end
//# if accumulate
        v += vec4<f32>(c[i]);
//# end
        c[i] = ${narrow4}(v);
//# else
        let i = row * N + column;
        write_one(i, sum.x);
        if column + 1u < N {
            write_one(i + 1u, sum.y);
        }
        if column + 2u < N {
            write_one(i + 2u, sum.z);
        }
        if column + 3u < N {
            write_one(i + 3u, sum.w);
        }
//# end
    }
}

//# if tiles
//# import matmul/or_zero with x = a, X = A
//# import matmul/or_zero with x = b, X = B
//# end

//# if rows
//# import matmul/rows
//# end
//# if tiled
//# import matmul/tiled
//# end
//# if cooperative
//# import matmul/units
//# end
