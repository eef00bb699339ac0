// Adds the values of a tile to the sums of the lane's rows, weighted by the running softmax of their scores: a part of
// attention.wgsl.
//# flags shuffle entropy: as in attention.wgsl
//# numbers rows keys columns: as in attention.wgsl
//# for r in rows
var scale_$r = 0.0; // for what was summed before this block
{
    var all = 0.0;
    var peak = peak_$r;
    //# for j in keys
    s_${r}_$j = select(MASKED, s_${r}_$j, block + sub + ${j}u <= i_$r);
    all += s_${r}_$j;
    peak = max(peak, s_${r}_$j);
    //# end
    broken_$r |= select(0u, EXPONENT, (bitcast<u32>(all) & EXPONENT) == EXPONENT);
    //# import attention/softmax
}
//# end
//# if shuffle
//# for c in columns
let right_$c = qkv_at(from_right, ${c}u);
//# end
//# end
//# for c in columns
{
    //# for r in rows
    var x_$r = x_${r}_$c * scale_$r;
    //# end
    //# for j in keys
    //# import attention/rows/handed with side = right
    //# for r in rows
    x_$r += s_${r}_$j * a_$j;
    //# end
    //# end
    //# for r in rows
    x_${r}_$c = x_$r;
    //# end
}
//# end
