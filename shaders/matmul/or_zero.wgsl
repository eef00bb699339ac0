// The same as `a_at` or `b_at`, but zero past the matrix's end; without a branch, which would make a compiler wait for each
// load in turn.
//# flags even: C is made of whole tiles
//# texts x X: the matrix' letter
fn ${x}_or_zero(row: u32, column: u32) -> vec4<f32> {
//# if even
    return ${x}_at(row, column);
//# else
    let v = ${x}_at(min(row, ${X}_ROWS - 1u), min(column, (${X}_COLUMNS - 1u) / 4u * 4u));
    return select(vec4(0.0), v, row < ${X}_ROWS && column < ${X}_COLUMNS);
//# end
}
