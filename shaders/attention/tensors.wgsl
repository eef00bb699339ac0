// What attention's kernels read and write.
//# flags forward query_gradient entropy guided images: as in attention.wgsl
//# texts element texel: as in attention.wgsl

//# import shared/operand with name = qkv, slot = 0, of = vec4<$element> // [B*T, 3*H*COLUMNS]: q | k | v
//# if forward
@group(0) @binding(1) var<storage, read_write> output: array<vec4<$element>>; // [B*T, H*COLUMNS]
@group(0) @binding(2) var<storage, read_write> lse: array<f32>; // [B, H, T]: log of the sum of e^score
//# if entropy
@group(0) @binding(3) var<storage, read_write> entropy: array<f32>; // [B, H, T], nats
//# end
//# else
@group(0) @binding(1) var<storage, read> lse: array<f32>; // [B, H, T]
//# import shared/operand with name = d_output, slot = 2, of = vec4<$element> // [B*T, H*COLUMNS]
@group(0) @binding(3) var<storage, read_write> d_qkv: array<vec4<$element>>; // [B*T, 3*H*COLUMNS]
//# if query_gradient
//# import shared/operand with name = output, slot = 4, of = vec4<$element> // [B*T, H*COLUMNS]
@group(0) @binding(5) var<storage, read_write> delta: array<f32>; // [B, H, T]: sum of d_output * output
//# if guided
@group(0) @binding(6) var<storage, read> entropy: array<f32>; // [B, H, T], nats
//# end
//# else
@group(0) @binding(4) var<storage, read> delta: array<f32>; // [B, H, T]
//# end
//# if guided
@group(0) @binding(7) var<storage, read> d_entropy: array<f32>; // [B, H, T]; delta then holds d_entropy * entropy as well
//# end
//# end
