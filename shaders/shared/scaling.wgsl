// The loss scale of mixed precision, which multiplies every gradient on its way through f16. `gradient_norm` maintains it,
// `cross_entropy` applies it.
//# flags scaled: gradients carry it
//# if scaled
struct Scaling {
    scale: f32,      // of the next step; a power of two
    good: f32,       // steps since it changed
    used: f32,       // of the last step
    overflowed: f32, // 1: the last step's gradient did not fit f16, and its update was left out
}
//# end
