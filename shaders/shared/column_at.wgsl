// The element of an operand of a single row at that column.
//# flags images: as in operand.wgsl
//# texts name: of the operand
fn ${name}_at(column: u32) -> Vector {
    //# if images
    return textureLoad($name, vec2(column, 0u));
    //# else
    return $name[column];
    //# end
}
