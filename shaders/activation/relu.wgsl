// ReLU, four elements at a time.
// A NaN stays a NaN: comparisons are written so that it never takes a branch that would hide it.

// max(x, 0), except that max would turn NaN into 0.
fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(x, vec4(0.0), x < vec4(0.0));
}

// 0 at 0
fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), x > vec4(0.0));
}
