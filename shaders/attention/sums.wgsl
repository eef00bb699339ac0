// Adds one section of the other side's rows, weighted, to the sums of the lane's rows: a part of blocks.wgsl.
//
// A template: `//#` lines are carried out by src/ops/unroll.rs.
// Flags: first (of the sections: the weights become known to all lanes); free (a barrier stands before this already).
// Numbers: those of blocks.wgsl; s, the section.
// Texts: sum and weight, names of registers; theirs, the function that reads the other side's rows.
{
    //# for t in broadfill
    let other_$t = ${theirs}(at, block + lane / WIDE + ${t}u * (LANES / WIDE), min(${s}u * WIDE + lane % WIDE, COLUMNS - 1u));
    //# end
    //# if free
    //# else
    workgroupBarrier();
    //# end
    //# if first
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
            // The weights of a lane lie side by side, its rows of the other side are ACROSS apart.
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
