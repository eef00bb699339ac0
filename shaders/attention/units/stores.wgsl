// Stores finished sums, one fragment of each subgroup at a time, four elements a lane: a part of attention/units.wgsl.
//
// A template: `//#` lines are carried out by src/ops/unroll.rs. Numbers: those of units.wgsl.
// Texts: sum, the fragments' name; factor, what a row is multiplied with; target, the tensor; parts, how many of a
// head's rows lie in a row of it, and place, which of them this is.
//# for h in high
//# for d in each
workgroupBarrier();
coopStoreT(${sum}_${h}_$d, &shown[(part + ${h}u * SIDE) * SHOWN], SHOWN);
workgroupBarrier();
for (var n = lane; n < SIDE * SIDE / 4u; n += LANES) {
    let row = down + ${h}u * SIDE + n / (SIDE / 4u);
    let column = across / 4u + ${d}u * (SIDE / 4u) + n % (SIDE / 4u);
    if first + row < SEQUENCE && column < COLUMNS {
        let v = finished_at(part - down + row, n % (SIDE / 4u)) * ${factor};
        ${target}[((at.y + first + row) * ${parts}u + ${place}u) * HEADS * COLUMNS + at.x + column] = narrow4(v);
    }
}
//# end
//# end
