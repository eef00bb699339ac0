// GELU with the error function, four elements at a time. A NaN stays a NaN: comparisons are written so that it never takes
// a branch that would hide it.

// exp(-a^2/2) and the normal distribution's tail P(Z > a), for 0 <= a <= 20.
//
// WGSL has no erf. The tail divided by exp(-a^2/2) is smooth and falls from 1/2 to 0.4/a: a Chebyshev fit of degree 8 in
// 1/(1 + 0.3 a), over a <= 14, beyond which the tail is zero in f32. Largest error of fit and f32 arithmetic together:
// 1.2e-7 absolute, 4e-7 relative, so that small tails keep their digits, unlike with 1 - erf.
struct Normal {
    bell: vec4<f32>,
    tail: vec4<f32>,
}

fn normal(a: vec4<f32>) -> Normal {
    let t = 1.0 / (1.0 + 0.3 * a);
    let bell = exp(-0.5 * a * a);
    var q = 0.037548766 * t - 0.16537376;
    q = q * t + 0.2213504;
    q = q * t - 0.06877566;
    q = q * t + 0.13764614;
    q = q * t + 0.096570864;
    q = q * t + 0.12148725;
    q = q * t + 0.11954163;
    q = q * t + 4.3772447e-6;
    return Normal(bell, bell * q);
}

// x P(Z < x)
fn value(x: vec4<f32>, p: f32) -> vec4<f32> {
    let n = normal(min(abs(x), vec4(20.0)));
    return select(x - x * n.tail, x * n.tail, x < vec4(0.0));
}

// P(Z < x) + x density(x)
fn derivative(x: vec4<f32>, p: f32) -> vec4<f32> {
    let near = clamp(x, vec4(-20.0), vec4(20.0));
    let n = normal(abs(near));
    let below = select(1.0 - n.tail, n.tail, x < vec4(0.0));
    return below + near * (0.39894228 * n.bell);
}
