// Elements (row, column .. column + 4) of A or B as stored, zero past the row's end; column is a multiple of four inside the
// row.
//# flags image whole: as in matmul/tensor.wgsl
//# texts x X: its letter
fn ${x}_at(row: u32, column: u32) -> vec4<f32> {
//# if image
    return textureLoad($x, vec2(column / 4u, row));
//# else
//# if whole
    return vec4<f32>($x[(row * ${X}_COLUMNS + column) / 4u]);
//# else
    let i = row * ${X}_COLUMNS + column;
    let last = ${X}_COLUMNS - 1u - column;
    // Past the end the last element is read instead, and discarded: memory there may hold anything.
    let v = vec4<f32>(vec4($x[i], $x[i + min(1u, last)], $x[i + min(2u, last)], $x[i + min(3u, last)]));
    return select(vec4(0.0), v, vec4(0u, 1u, 2u, 3u) <= vec4(last));
//# end
//# end
}
