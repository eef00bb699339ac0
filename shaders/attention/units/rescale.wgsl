// Multiplies some fragments of the sums with their rows' factors: a part of attention/units.wgsl.
//
// A template: `//#` lines are carried out by src/ops/unroll.rs. Number: count, of fragments of columns.
// Texts: shows and loads, which bring fragments to where they are shown, and back.
workgroupBarrier();
//# insert shows
workgroupBarrier();
for (var n = lane; n < HIGH * ${count}u * SIDE; n += LANES) {
    let row = n / (${count}u * SIDE);
    shown[(part + row) * SHOWN + n % (${count}u * SIDE)] *= factors[down + row];
}
workgroupBarrier();
//# insert loads
