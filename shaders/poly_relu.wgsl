// A polynomial of max(x, 0) of degree three with learned coefficients, and its adjoint. Four elements at a time.
//# flags images: x and dy are read as images
//# flags half: x, y and their gradients are f16
//# numbers lanes each: as in shared/walk.wgsl
//# texts element: how those are stored
//# texts narrow: the function that makes it of vec4<f32>
//# texts texel: the format of an image of it
//# texts team: alone, subgroup or workgroup
//# import shared/narrow
//# import shared/team_$team

override VECTORS: u32; // vec4s of x; the last one may hold fewer than four elements
override COUNT: u32; // elements of x
override PARTS: u32; // lanes that sum
override TEAM_LANES: u32; // lanes of the workgroup that adds up their sums
//# if images
override TEXELS: u32; // vec4s of a row
//# end

//# import shared/operand with name = x, slot = 0, of = vec4<$element> // [VECTORS]
//# import shared/operand with name = dy, slot = 3, of = vec4<$element> // [VECTORS]
@group(0) @binding(1) var<storage, read> a: array<f32>; // [4]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(4) var<storage, read_write> dx: array<vec4<$element>>; // [VECTORS]
@group(0) @binding(5) var<storage, read_write> parts: array<vec4<f32>>; // [PARTS]: a sum for each coefficient
@group(0) @binding(6) var<storage, read_write> d_a: array<f32>; // [4]

//# import shared/operand_at with name = x

//# import shared/operand_at with name = dy

fn total(v: vec4<f32>) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

//# import shared/walk

@compute @workgroup_size(LANES)
fn poly_relu(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let first = (group.x + group.y * groups.x) * LANES * EACH + lane;
    for (var n = 0u; n < EACH; n++) {
        let i = first + n * LANES;
        if i < VECTORS {
            let v = x_at(i);
            let r = select(v, vec4(0.0), v < vec4(0.0));
            y[i] = ${narrow}(a[0] + r * (a[1] + r * (a[2] + r * a[3])));
        }
    }
}

// A lane takes every PARTS-th vector.
@compute @workgroup_size(LANES)
fn poly_relu_backward(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(num_workgroups) groups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let part = (group.x + group.y * groups.x) * LANES + lane;
    if part >= PARTS {
        return;
    }
    var sums = vec4(0.0);
    for (var i = part; i < VECTORS; i += PARTS) {
        let v = x_at(i);
        let d = dy_at(i);
        let r = select(v, vec4(0.0), v < vec4(0.0));
        let slope = a[1] + r * (2.0 * a[2] + r * (3.0 * a[3]));
        dx[i] = ${narrow}(select(vec4(0.0), d * slope, v > vec4(0.0)));
        // Memory after the last element may hold anything.
        let inside = vec4(4u * i) + vec4(0u, 1u, 2u, 3u) < vec4(COUNT);
        let e = select(vec4(0.0), d, inside);
        let s = select(vec4(0.0), r, inside);
        sums += vec4(total(e), total(e * s), total(e * s * s), total(e * s * s * s));
    }
    parts[part] = sums;
}

// One team adds up all sums, always in the same order.
@compute @workgroup_size(TEAM_LANES)
fn coefficient_total(@builtin(local_invocation_index) lane: u32) {
    var sums = vec4(0.0);
    for (var part = lane; part < PARTS; part += TEAM) {
        sums += parts[part];
    }
    let s0 = team_sum(sums.x, lane);
    let s1 = team_sum(sums.y, lane);
    let s2 = team_sum(sums.z, lane);
    let s3 = team_sum(sums.w, lane);
    if lane == 0u {
        d_a[0] += s0;
        d_a[1] += s1;
        d_a[2] += s2;
        d_a[3] += s3;
    }
}
