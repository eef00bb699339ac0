// ReLU with a slope p below zero, four elements at a time.
// A NaN stays a NaN: comparisons are written so that it never takes a branch that would hide it.

fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(p * x, x, x >= vec4(0.0));
}

// 1 at 0
fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(vec4(p), vec4(1.0), x >= vec4(0.0));
}

// df/dp
fn derivative_p(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(vec4(0.0), x, x < vec4(0.0));
}
