// sgn(u) L/(1 + L) with L = ln(1 + |u|)

fn value(u: Vector) -> Vector {
    let l = ln_1p(abs(within(u, 3e38)));
    return signed(l / (1.0 + l), u);
}

fn derivative(u: Vector) -> Vector {
    let a = abs(within(u, 3e38));
    let r = 1.0 / (1.0 + ln_1p(a));
    return r * r / (1.0 + a);
}
