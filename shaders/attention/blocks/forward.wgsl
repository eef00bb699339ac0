// Adds the values of a block to the sums of the lane's rows, weighted by the running softmax of their scores: a part of
// attention/blocks.wgsl.
//# flags forward entropy: as in attention/blocks.wgsl
//# numbers rows keys each sections four broadfill: as in attention/blocks.wgsl
//# for r in rows
{
    var all = 0.0;
    var peak = MASKED;
    //# for j in keys
    s_${r}_$j = select(MASKED, s_${r}_$j, block + across + ${j}u * ACROSS <= i_$r);
    all += s_${r}_$j;
    peak = max(peak, s_${r}_$j);
    //# end
    broken_$r = select(broken_$r, 1.0, (bitcast<u32>(all) & EXPONENT) == EXPONENT);
    gather(row_$r, across, peak);
}
//# end
workgroupBarrier();
//# for r in rows
var scale_$r = 0.0; // for what was summed before this block
{
    let peak = max(peak_$r, gathered_most(row_$r));
    //# import attention/softmax
}
//# for s in sections
//# for m in each
x_${r}_${s}_$m *= scale_$r;
//# end
//# end
//# end
//# for s in sections
//# import attention/blocks/sums with sum = x, weight = s, theirs = v_at
//# end
