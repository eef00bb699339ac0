// The loss scale of mixed precision: what every gradient on its way through f16 is multiplied with. `gradient_norm`
// keeps it, `cross_entropy` brings it in.
struct Scaling {
    scale: f32,      // of the next step; a power of two
    good: f32,       // steps since it changed
    used: f32,       // of the last step
    overflowed: f32, // 1: the last step's gradient did not fit f16, and its update was left out
}
