// z = a * s(g) with s(g) = 1/(1 + exp(-g)), and its adjoint: da = dz * s(g), dg = s'(g) * sum of dz * a over the columns
// that share the gate.
//# flags images: a and dz are read as images, and g if it has an element for each of theirs
//# flags half: all tensors are f16
//# flags heads: SPAN vectors of a row share a gate
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how tensors are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts narrow_one: the function that makes it of f32
//# texts texel: the format of an image
//# import shared/narrow

override VECTORS: u32; // vec4s of a
//# if heads
override SPAN: u32; // vec4s that share a gate
override GATES: u32; // elements of g
//# end
//# if images
override TEXELS: u32; // vec4s of a row of a
//# end
//# import shared/operand with name = a, slot = 0, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dz, slot = 3, of = vec4<$element> // [VECTORS]
@group(0) @binding(2) var<storage, read_write> z: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(4) var<storage, read_write> da: array<vec4<$element>>; // [VECTORS]
//# if heads
@group(0) @binding(1) var<storage, read> g: array<$element>; // [GATES]
@group(0) @binding(5) var<storage, read_write> dg: array<$element>; // [GATES]
//# else
//# import shared/operand with name = g, slot = 1, of = vec4<$element> // [VECTORS]
@group(0) @binding(5) var<storage, read_write> dg: array<vec4<$element>>; // [VECTORS]
//# end

//# import shared/operand_at with name = a

//# import shared/operand_at with name = dz

//# if heads
fn gates_of(i: u32) -> vec4<f32> {
    return vec4(f32(g[i / SPAN]));
}
//# else
//# import shared/operand_at with name = g

fn gates_of(i: u32) -> vec4<f32> {
    return g_at(i);
}
//# end

// Of exp(-|x|), which cannot overflow.
fn opened(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-abs(x));
    let s = 1.0 / (1.0 + e);
    return select(s, e * s, x < vec4(0.0));
}

// The derivative of that, of the same: 1 - s has no digits where s is near one.
fn slope(x: vec4<f32>) -> vec4<f32> {
    let e = exp(-abs(x));
    let s = 1.0 / (1.0 + e);
    return e * s * s;
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn head_gate(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            z[i] = ${narrow}(a_at(i) * opened(gates_of(i)));
        }
    }
}

@compute @workgroup_size(LANES)
fn head_gate_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let x = gates_of(i);
            let d = dz_at(i);
            da[i] = ${narrow}(d * opened(x));
            //# if heads
            //# else
            dg[i] = ${narrow}(d * a_at(i) * slope(x));
            //# end
        }
    }
}

//# if heads
// A lane takes one gate.
@compute @workgroup_size(LANES)
fn gate_gradient(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.x + group.y * groups.x) * LANES + lane;
    if place >= GATES {
        return;
    }
    var sum = vec4(0.0);
    for (var i = place * SPAN; i < (place + 1u) * SPAN; i++) {
        sum += a_at(i) * dz_at(i);
    }
    let steep = slope(vec4(f32(g[place]))).x;
    dg[place] = ${narrow_one}(steep * ((sum.x + sum.y) + (sum.z + sum.w)));
}
//# end
