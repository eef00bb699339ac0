// GELU with tanh, four elements at a time. A NaN stays a NaN: comparisons are written so that it never takes a branch that
// would hide it.

const ROOT_HALF_PI_INVERSE = 0.7978845608; // sqrt(2/pi), of gelu_new
const CUBIC = 0.044715; // of gelu_new

// 1/2 (1 + tanh u) = 1/(1 + e^(-2u)) computed with exp and a division that cannot overflow.
struct Logistic {
    value: vec4<f32>, // s = 1/(1 + e^(-v))
    slope: vec4<f32>, // s (1 - s)
}

fn logistic(v: vec4<f32>) -> Logistic {
    let e = exp(-min(abs(v), vec4(80.0)));
    let s = 1.0 / (1.0 + e);
    return Logistic(select(s, e * s, v < vec4(0.0)), e * s * s);
}

// x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))
fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return x * logistic(2.0 * ROOT_HALF_PI_INVERSE * (x + CUBIC * x * x * x)).value;
}

fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    // Beyond 20 the slope is 0 or 1 in f32; there the product of a large and a tiny number must not be formed.
    let near = clamp(x, vec4(-20.0), vec4(20.0));
    let l = logistic(2.0 * ROOT_HALF_PI_INVERSE * (near + CUBIC * near * near * near));
    return l.value + near * l.slope * (2.0 * ROOT_HALF_PI_INVERSE * (1.0 + 3.0 * CUBIC * near * near));
}
