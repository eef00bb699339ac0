// Helpers of bounded functions. A NaN stays a NaN: comparisons are written so that it never takes a branch that would hide it.

// u, with a bound on its size.
fn within(u: Vector, bound: f32) -> Vector {
    let below = select(u, Vector(bound), u > Vector(bound));
    return select(below, Vector(-bound), below < Vector(-bound));
}

// v with the sign of u, for v >= 0.
fn signed(v: Vector, u: Vector) -> Vector {
    return select(v, -v, u < Vector(0.0));
}
