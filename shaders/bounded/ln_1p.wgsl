// ln(1 + a) for a >= 0: near zero by the polynomial of Cephes, because WGSL's log may be off by 5e-7 there.
fn ln_1p(a: Vector) -> Vector {
    let z = a * a;
    var q = 7.0376836292e-2 * a - 1.1514610310e-1;
    q = q * a + 1.1676998740e-1;
    q = q * a - 1.2420140846e-1;
    q = q * a + 1.4249322787e-1;
    q = q * a - 1.6668057665e-1;
    q = q * a + 2.0000714765e-1;
    q = q * a - 2.4999993993e-1;
    q = q * a + 3.3333331174e-1;
    let near = a - 0.5 * z + a * z * q;
    return select(near, log(1.0 + a), a >= Vector(0.41421356));
}
