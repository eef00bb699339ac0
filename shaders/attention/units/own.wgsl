// Loads some fragments of this side's rows, through each subgroup's own part of workgroup memory: a part of
// attention/units.wgsl.
//# numbers from count: which fragments of columns
//# texts mine: the function that reads the rows
//# texts loads: loads the fragments from there
workgroupBarrier();
for (var n = lane; n < HIGH * ${count}u * SIDE / 4u; n += LANES) {
    let row = n / (${count}u * SIDE / 4u);
    let column = (across + ${from}u * SIDE) / 4u + n % (${count}u * SIDE / 4u);
    put(subgroup * HIGH * ${count}u * SIDE + 4u * n, ${mine}(at, first + down + row, column));
}
workgroupBarrier();
//# insert loads
