// Multiplies this side's rows by the other's in a subgroup's columns, and writes the products to `shown`: a part of
// attention/units.wgsl.
//# numbers each keys high side: as in units.wgsl
//# texts mine: the name of this side's fragments
//# for d in each
//# for w in keys
{
    let theirs = coopLoad<coop_mat${side}x${side}<f16, B>>(&other[${w}u * SIDE * OTHER + across + ${d}u * SIDE], OTHER);
    //# for h in high
    s_${h}_$w = coopMultiplyAdd(${mine}_${h}_$d, theirs, s_${h}_$w);
    //# end
}
//# end
//# end
//# for h in high
//# for w in keys
coopStoreT(s_${h}_$w, &shown[(part + ${h}u * SIDE) * SHOWN + ${w}u * SIDE], SHOWN);
//# end
//# end
