// Whether a number is finite, by its bits: on some drivers `x != x` is false for NaN.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}
