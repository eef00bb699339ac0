// The activation functions of the feed-forward layers and their derivatives, four elements at a time.
// A NaN comes out as a NaN: comparisons are so placed that it takes no branch that would hide it.

const ROOT_HALF_PI_INVERSE = 0.7978845608; // sqrt(2/pi), of gelu_new
const CUBIC = 0.044715; // of gelu_new

// exp(-a^2/2) and the normal distribution's tail P(Z > a), for 0 <= a <= 20.
//
// WGSL has no erf. The tail over exp(-a^2/2) is smooth and falls from 1/2 to 0.4/a: a Chebyshev fit of
// degree 8 in 1/(1 + 0.3 a), over a <= 14, beyond which the tail is zero in f32. Largest error of fit and f32 arithmetic
// together: 1.2e-7 absolute, 4e-7 relative, so that small tails keep their digits, which 1 - erf would not.
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
fn gelu(x: vec4<f32>) -> vec4<f32> {
    let n = normal(min(abs(x), vec4(20.0)));
    return select(x - x * n.tail, x * n.tail, x < vec4(0.0));
}

// P(Z < x) + x density(x)
fn gelu_slope(x: vec4<f32>) -> vec4<f32> {
    let near = clamp(x, vec4(-20.0), vec4(20.0));
    let n = normal(abs(near));
    let below = select(1.0 - n.tail, n.tail, x < vec4(0.0));
    return below + near * (0.39894228 * n.bell);
}

// 1/2 (1 + tanh u) = 1/(1 + e^(-2u)) as exp and a division of numbers that cannot overflow.
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
fn gelu_new(x: vec4<f32>) -> vec4<f32> {
    return x * logistic(2.0 * ROOT_HALF_PI_INVERSE * (x + CUBIC * x * x * x)).value;
}

fn gelu_new_slope(x: vec4<f32>) -> vec4<f32> {
    // Beyond 20 the slope is 0 or 1 in f32; there the product of a large and a tiny number must not be formed.
    let near = clamp(x, vec4(-20.0), vec4(20.0));
    let l = logistic(2.0 * ROOT_HALF_PI_INVERSE * (near + CUBIC * near * near * near));
    return l.value + near * l.slope * (2.0 * ROOT_HALF_PI_INVERSE * (1.0 + 3.0 * CUBIC * near * near));
}

// max(x, 0) but for NaN, which max would turn into 0.
fn relu(x: vec4<f32>) -> vec4<f32> {
    return select(x, vec4(0.0), x < vec4(0.0));
}

// 0 at 0
fn relu_slope(x: vec4<f32>) -> vec4<f32> {
    return select(vec4(0.0), vec4(1.0), x > vec4(0.0));
}

fn leaky(x: vec4<f32>, slope: f32) -> vec4<f32> {
    return select(slope * x, x, x >= vec4(0.0));
}

// 1 at 0
fn leaky_slope(x: vec4<f32>, slope: f32) -> vec4<f32> {
    return select(vec4(slope), vec4(1.0), x >= vec4(0.0));
}

const GELU = 0u;
const GELU_NEW = 1u;
const RELU = 2u;
const LEAKY = 3u;

// The function of that kind; `slope` is for LEAKY alone.
fn activation(kind: u32, x: vec4<f32>, slope: f32) -> vec4<f32> {
    switch kind {
        case GELU: { return gelu(x); }
        case GELU_NEW: { return gelu_new(x); }
        case RELU: { return relu(x); }
        default: { return leaky(x, slope); }
    }
}

// Its derivative.
fn activation_slope(kind: u32, x: vec4<f32>, slope: f32) -> vec4<f32> {
    switch kind {
        case GELU: { return gelu_slope(x); }
        case GELU_NEW: { return gelu_new_slope(x); }
        case RELU: { return relu_slope(x); }
        default: { return leaky_slope(x, slope); }
    }
}
