// sgn(u) ln(1 + |u|), clipped to +-1

fn value(u: Vector) -> Vector {
    return signed(within(ln_1p(abs(within(u, 4.0))), 1.0), u);
}

fn derivative(u: Vector) -> Vector {
    let a = abs(within(u, 4.0));
    return select(1.0 / (1.0 + a), Vector(0.0), ln_1p(a) > Vector(1.0));
}
