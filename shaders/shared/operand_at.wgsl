// The vec4 of an operand at that index; an image has TEXELS of them per row.
//# flags images: as in operand.wgsl
//# texts name: of the operand
fn ${name}_at(i: u32) -> vec4<f32> {
    //# if images
    let row = i / TEXELS;
    return textureLoad($name, vec2<u32>(i - row * TEXELS, row));
    //# else
    return vec4<f32>($name[i]);
    //# end
}
