// Scores that stay within CAP on either side of zero: CAP * tanh(score / CAP).
//# texts of: f32, or vec4<f32>
override CAP: f32;

// Of exp(-2|x|), which cannot overflow, as the tanh of some drivers does; near zero, where 1 - exp(-2|x|) has few digits, the
// polynomial of Moshier's Cephes library.
fn capped(score: $of) -> $of {
    let x = score / CAP;
    let e = exp(-2.0 * abs(x));
    let far = (1.0 - e) / (1.0 + e);
    let z = x * x;
    let p = (((-5.70498872745e-3 * z + 2.06390887954e-2) * z - 5.37397155531e-2) * z + 1.33314422036e-1) * z - 3.33332819422e-1;
    let signed = select(far, -far, x < $of(0.0));
    return CAP * select(signed, x + x * z * p, abs(x) < $of(0.625));
}

// The derivative, from a capped score.
fn cap_slope(capped: $of) -> $of {
    let t = capped / CAP;
    return 1.0 - t * t;
}
