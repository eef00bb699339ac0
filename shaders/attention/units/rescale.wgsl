// Multiplies some fragments of the sums by their rows' factors: a part of attention/units.wgsl.
//# numbers count: of fragments of columns
//# texts shows loads: bring fragments to where they are shown, and back
workgroupBarrier();
//# insert shows
workgroupBarrier();
for (var n = lane; n < HIGH * ${count}u * SIDE; n += LANES) {
    let row = n / (${count}u * SIDE);
    shown[(part + row) * SHOWN + n % (${count}u * SIDE)] *= factors[down + row];
}
workgroupBarrier();
//# insert loads
