// The sine of u clipped to +-pi/2. The function of WGSL may be off by 5e-4; up to pi/2 these series are off by less than 6e-8.

fn value(u: Vector) -> Vector {
    let c = within(u, 1.5707963267948966);
    let z = c * c;
    var q = 1.0 / 6227020800.0 * z - 1.0 / 39916800.0;
    q = q * z + 1.0 / 362880.0;
    q = q * z - 1.0 / 5040.0;
    q = q * z + 1.0 / 120.0;
    q = q * z - 1.0 / 6.0;
    return c + c * z * q;
}

fn derivative(u: Vector) -> Vector {
    let c = within(u, 1.5707963267948966);
    let z = c * c;
    var q = 1.0 / 479001600.0 * z - 1.0 / 3628800.0;
    q = q * z + 1.0 / 40320.0;
    q = q * z - 1.0 / 720.0;
    q = q * z + 1.0 / 24.0;
    q = q * z - 0.5;
    return select(1.0 + z * q, Vector(0.0), abs(u) > Vector(1.5707963267948966));
}
