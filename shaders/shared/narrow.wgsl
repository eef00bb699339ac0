// f32 to f16, for kernels that have f16 in a buffer.
//# flags half: this one has
//# if half
enable f16;

// A number beyond the range becomes infinite, however the device rounds. A device that rounds towards zero would make it
// the largest f16, and hide that a gradient has overflowed.
const BEYOND = 65520.0; // the smallest number that is nearer to infinity than to the largest f16

fn narrow4(v: vec4<f32>) -> vec4<f16> {
    return vec4<f16>(select(v, v * 3e38, abs(v) >= vec4(BEYOND)));
}

fn narrow1(v: f32) -> f16 {
    return f16(select(v, v * 3e38, abs(v) >= BEYOND));
}
//# end
