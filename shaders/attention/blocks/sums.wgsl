// Adds one section of the other side's rows, weighted, to the sums of the lane's rows: a part of blocks.wgsl. The first
// section also shares the weights with all lanes.
//# flags forward: a barrier stands before the first section already
//# numbers rows keys each four broadfill: as in blocks.wgsl
//# numbers s: the section
//# texts sum weight: names of registers
//# texts theirs: the function that reads rows of the other side
{
    //# for t in broadfill
    let other_$t = ${theirs}(at, block + lane / WIDE + ${t}u * (LANES / WIDE), min(${s}u * WIDE + lane % WIDE, COLUMNS - 1u));
    //# end
    //# if s
    workgroupBarrier();
    //# else
    //# if forward
    //# else
    workgroupBarrier();
    //# end
    //# for r in rows
    //# for j in keys
    own[(down + ${r}u * DOWN) * WEIGHTS + across * ${keys}u / 4u][across * ${keys}u % 4u + ${j}u] = ${weight}_${r}_$j;
    //# end
    //# end
    //# end
    //# for t in broadfill
    other[(lane / WIDE + ${t}u * (LANES / WIDE)) * BROAD + lane % WIDE] = other_$t;
    //# end
    workgroupBarrier();
    for (var y = 0u; y < KEYS / 4u; y += 1u) {
        //# for r in rows
        let w_$r = own[(down + ${r}u * DOWN) * WEIGHTS + y];
        //# end
        //# for e in four
        {
            // A lane's weights are adjacent, but its rows of the other side are ACROSS apart.
            let row = ((y * 4u + ${e}u) / ${keys}u + ${e}u % ${keys}u * ACROSS) * BROAD + across;
            //# for m in each
            let b_$m = other[row + ${m}u * ACROSS];
            //# for r in rows
            ${sum}_${r}_${s}_$m += w_$r[$e] * b_$m;
            //# end
            //# end
        }
        //# end
    }
}
