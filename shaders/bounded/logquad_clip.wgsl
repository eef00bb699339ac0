// sgn(u) ln(1 + u^2), clipped to +-1

fn value(u: Vector) -> Vector {
    let c = within(u, 4.0);
    return signed(within(ln_1p(c * c), 1.0), u);
}

fn derivative(u: Vector) -> Vector {
    let c = within(u, 4.0);
    return select(2.0 * abs(c) / (1.0 + c * c), Vector(0.0), ln_1p(c * c) > Vector(1.0));
}
