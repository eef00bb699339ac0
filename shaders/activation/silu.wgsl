// SiLU, four elements at a time. A NaN stays a NaN: comparisons are written so that it never takes a branch that would hide it.

// 1/(1 + e^(-x)) and its slope, of e^(-|x|), which cannot overflow.
struct Logistic {
    value: vec4<f32>,
    slope: vec4<f32>,
}

fn logistic(x: vec4<f32>) -> Logistic {
    let e = exp(-min(abs(x), vec4(80.0)));
    let s = 1.0 / (1.0 + e);
    return Logistic(select(s, e * s, x < vec4(0.0)), e * s * s);
}

fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    return x * logistic(x).value;
}

fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    // Beyond 40 the slope of the logistic function times x is zero in f32.
    let l = logistic(x);
    return l.value + clamp(x, vec4(-40.0), vec4(40.0)) * l.slope;
}
