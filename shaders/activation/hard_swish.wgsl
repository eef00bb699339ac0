// x * clamp(x + 3, 0, 6) / 6, four elements at a time. A NaN stays a NaN: every branch that it may take is of x.

fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    let inside = x * (x + 3.0) / 6.0;
    return select(select(inside, x, x > vec4(3.0)), vec4(0.0), x < vec4(-3.0));
}

fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    let inside = (2.0 * x + 3.0) / 6.0;
    return select(select(inside, vec4(1.0), x > vec4(3.0)), vec4(0.0), x < vec4(-3.0));
}
