// Loads some fragments of this side's rows, in the place of each subgroup: a part of attention/units.wgsl.
//
// A template: `//#` lines are carried out by src/ops/unroll.rs. Numbers: from and count, which fragments of columns.
// Texts: mine, the function that reads the rows; loads, the fragments from `home`.
workgroupBarrier();
for (var n = lane; n < HIGH * ${count}u * SIDE / 4u; n += LANES) {
    let row = n / (${count}u * SIDE / 4u);
    let column = (across + ${from}u * SIDE) / 4u + n % (${count}u * SIDE / 4u);
    put(subgroup * HIGH * ${count}u * SIDE + 4u * n, ${mine}(at, first + down + row, column));
}
workgroupBarrier();
//# insert loads
