// tanh: near zero a polynomial (that of Cephes), because 1 - e^(-2|u|) would have no digits there.

fn value(u: Vector) -> Vector {
    let z = u * u;
    var q = -5.70498872745e-3 * z + 2.06390887954e-2;
    q = q * z - 5.37397155531e-2;
    q = q * z + 1.33314422036e-1;
    q = q * z - 3.33332819422e-1;
    let near = u + u * z * q;
    let e = exp(-2.0 * abs(within(u, 40.0)));
    return select(near, signed((1.0 - e) / (1.0 + e), u), abs(u) >= Vector(0.625));
}

// 1 - tanh^2, from the exponential: the difference would have no digits where it is small.
fn derivative(u: Vector) -> Vector {
    let e = exp(-2.0 * abs(within(u, 40.0)));
    let r = 1.0 / (1.0 + e);
    return 4.0 * e * r * r;
}
