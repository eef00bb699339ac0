// 1 - e^(-a) for a >= 0: near zero a series, because the difference would have no digits there.
fn below_one(a: Vector) -> Vector {
    var q = 1.0 / 40320.0 - 1.0 / 362880.0 * a;
    q = 1.0 / 5040.0 - q * a;
    q = 1.0 / 720.0 - q * a;
    q = 1.0 / 120.0 - q * a;
    q = 1.0 / 24.0 - q * a;
    q = 1.0 / 6.0 - q * a;
    q = 0.5 - q * a;
    let near = a - a * a * q;
    return select(near, 1.0 - exp(-within(a, 80.0)), a >= Vector(0.7));
}
