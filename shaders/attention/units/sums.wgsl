// Adds the other side's rows, weighted, to the sums of this side's in a subgroup's columns: a part of attention/units.wgsl.
//# numbers keys high each side: as in units.wgsl
//# texts sum: the fragments' name
//# for k in keys
{
    //# for h in high
    let weight_$h = coopLoadT<coop_mat${side}x${side}<f16, A>>(&weights[(down + ${h}u * SIDE) * WEIGHTS + ${k}u * SIDE], WEIGHTS);
    //# end
    //# for d in each
    {
        let row = coopLoad<coop_mat${side}x${side}<f16, B>>(&other[(across + ${d}u * SIDE) * TURNED + ${k}u * SIDE], TURNED);
        //# for h in high
        ${sum}_${h}_$d = coopMultiplyAdd(weight_$h, row, ${sum}_${h}_$d);
        //# end
    }
    //# end
}
//# end
