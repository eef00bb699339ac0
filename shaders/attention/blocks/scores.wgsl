// Adds the product of each of the lane's rows and each of its rows of the other side to a register: a part of
// blocks.wgsl.
//# numbers rows keys fill refill: as in blocks.wgsl
//# texts sum: the registers' name
//# texts mine theirs: the functions that read rows of this side and of the other
for (var chunk = 0u; chunk < COLUMNS; chunk += DEPTH) {
    // All loads begin before the first result is used.
    let place = min(chunk + lane % DEPTH, COLUMNS - 1u);
    //# for t in fill
    let own_$t = ${mine}(at, first + lane / DEPTH + ${t}u * (LANES / DEPTH), place);
    //# end
    //# for t in refill
    let other_$t = ${theirs}(at, block + lane / DEPTH + ${t}u * (LANES / DEPTH), place);
    //# end
    workgroupBarrier();
    //# for t in fill
    own[(lane / DEPTH + ${t}u * (LANES / DEPTH)) * NARROW + lane % DEPTH] = own_$t;
    //# end
    //# for t in refill
    other[(lane / DEPTH + ${t}u * (LANES / DEPTH)) * NARROW + lane % DEPTH] = other_$t;
    //# end
    workgroupBarrier();
    for (var c = 0u; c < min(DEPTH, COLUMNS - chunk); c += 1u) {
        //# for r in rows
        let a_$r = own[(down + ${r}u * DOWN) * NARROW + c];
        //# end
        //# for j in keys
        let b_$j = other[(across + ${j}u * ACROSS) * NARROW + c];
        //# for r in rows
        ${sum}_${r}_$j += a_$r.x * b_$j.x;
        ${sum}_${r}_$j += a_$r.y * b_$j.y;
        ${sum}_${r}_$j += a_$r.z * b_$j.z;
        ${sum}_${r}_$j += a_$r.w * b_$j.w;
        //# end
        //# end
    }
}
