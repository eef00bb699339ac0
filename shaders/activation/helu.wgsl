// ReLU whose derivative is one from -p on, four elements at a time.

fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(x, vec4(0.0), x < vec4(0.0));
}

fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), x > vec4(-p));
}
