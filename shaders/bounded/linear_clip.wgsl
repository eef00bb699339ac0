// u clipped to +-1

fn value(u: Vector) -> Vector {
    return within(u, 1.0);
}

fn derivative(u: Vector) -> Vector {
    return select(Vector(1.0), Vector(0.0), abs(u) > Vector(1.0));
}
