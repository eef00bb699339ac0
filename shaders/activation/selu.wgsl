// SELU, four elements at a time.

const SELU_SCALE = 1.0507009873554805;
const SELU_ALPHA = 1.6732632423543772;

// e^x - 1 below zero: a polynomial near zero, where the difference has few digits.
fn expm1(x: vec4<f32>) -> vec4<f32> {
    let near = x * (1.0 + x * (1.0 / 2.0 + x * (1.0 / 6.0 + x * (1.0 / 24.0 + x * (1.0 / 120.0 + x / 720.0)))));
    return select(exp(x) - 1.0, near, x > vec4(-0.3));
}

fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    // Not min, which may drop a NaN.
    let below = select(vec4(0.0), x, x < vec4(0.0));
    return SELU_SCALE * select(x, SELU_ALPHA * expm1(below), x < vec4(0.0));
}

fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    let below = select(vec4(0.0), x, x < vec4(0.0));
    return SELU_SCALE * select(vec4(1.0), SELU_ALPHA * exp(below), x < vec4(0.0));
}
