// Adds the other side's rows, weighted, to the sums of this side's in a subgroup's columns: a part of attention/units.wgsl.
//
// A template: `//#` lines are carried out by src/ops/unroll.rs. Numbers: those of units.wgsl.
// Text: sum, the fragments' name.
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
