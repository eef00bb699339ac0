// Stores some fragments of finished sums, four elements per lane at a time: a part of attention/units.wgsl.
//# numbers from count: which fragments of columns
//# texts shows: brings them to where they are shown
//# texts factor: what a row is multiplied with
//# texts target: the tensor
//# texts parts place: how many of a head's rows lie in a row of it, and which of them this is
workgroupBarrier();
//# insert shows
workgroupBarrier();
for (var n = lane; n < HIGH * ${count}u * SIDE / 4u; n += LANES) {
    let row = n / (${count}u * SIDE / 4u);
    let cell = n % (${count}u * SIDE / 4u);
    let column = (across + ${from}u * SIDE) / 4u + cell;
    let i = first + down + row;
    if i < SEQUENCE && column < COLUMNS {
        let v = finished_at(part + row, cell) * ${factor};
        ${target}[((at.y + i) * ${parts}u + ${place}u) * HEADS * COLUMNS + at.x + column] = narrow4(v);
    }
}
