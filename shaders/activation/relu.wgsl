// ReLU, four elements at a time.
// A NaN comes out as a NaN: comparisons are so placed that it takes no branch that would hide it.

// max(x, 0) but for NaN, which max would turn into 0.
fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(x, vec4(0.0), x < vec4(0.0));
}

// 0 at 0
fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), x > vec4(0.0));
}
