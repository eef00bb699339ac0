// The element of an operand of WIDTH columns at that row and column, as `of`.
//# flags images: as in operand.wgsl
//# texts name: of the operand
//# texts of: the type that kernels compute with
fn ${name}_at(row: u32, column: u32) -> $of {
    //# if images
    return textureLoad($name, vec2(column, row));
    //# else
    return ${of}($name[row * WIDTH + column]);
    //# end
}
