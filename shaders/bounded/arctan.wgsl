// arctan u. The function of WGSL may be off by thousands of units, so the argument is reduced to tan(pi/8) here, where the
// polynomial is that of Cephes.

fn value(u: Vector) -> Vector {
    let a = abs(u);
    let far = a > Vector(2.414213562373095);
    let middle = a > Vector(0.4142135623730950);
    let reduced = select(a, (a - 1.0) / (a + 1.0), middle);
    let x = select(reduced, -1.0 / a, far);
    let start = select(select(Vector(0.0), Vector(0.7853981633974483), middle), Vector(1.5707963267948966), far);
    let z = x * x;
    var q = 8.05374449538e-2 * z - 1.38776856032e-1;
    q = q * z + 1.99777106478e-1;
    q = q * z - 3.33329491539e-1;
    return signed(start + (x + x * z * q), u);
}

fn derivative(u: Vector) -> Vector {
    let c = within(u, 1e12);
    return 1.0 / (1.0 + c * c);
}
