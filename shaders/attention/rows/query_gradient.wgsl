// Probabilities of the lane's queries, and their gradients: a part of attention.wgsl.
//# flags shuffle held guided: as in attention.wgsl
//# numbers rows keys columns: as in attention.wgsl
// Gradients of the probabilities, then of the scores.
//# for r in rows
//# for j in keys
//# if guided
var p_${r}_$j = -delta_$r - guide_$r * (s_${r}_$j - lse_$r);
s_${r}_$j = select(0.0, exp(s_${r}_$j - lse_$r), block + sub + ${j}u <= i_$r);
//# else
s_${r}_$j = select(0.0, exp(s_${r}_$j - lse_$r), block + sub + ${j}u <= i_$r);
var p_${r}_$j = -delta_$r;
//# end
//# end
//# end
//# for c in columns
{
    //# if shuffle
    let right_$c = qkv_at(from_right, ${c}u);
    //# end
    //# if held
    //# else
    //# for r in rows
    let g_${r}_$c = d_output_at(out_$r, ${c}u);
    //# end
    //# end
    //# for j in keys
    //# import attention/rows/handed with side = right
    //# for r in rows
    p_${r}_$j += dot(g_${r}_$c, a_$j);
    //# end
    //# end
}
//# end
