// Whether a number is neither NaN nor infinite, by its bits: `x != x` is false for NaN on some drivers.
fn is_finite(x: f32) -> bool {
    return (bitcast<u32>(x) & 0x7fffffffu) < 0x7f800000u;
}
