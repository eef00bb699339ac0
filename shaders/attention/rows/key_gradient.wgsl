// Probabilities of the lane's keys, their gradients, and sums for the values: a part of attention.wgsl.
//# flags shuffle held guided: as in attention.wgsl
//# numbers rows keys columns: as in attention.wgsl
//# for j in keys
let at_$j = block + sub + ${j}u;
//# if shuffle
let lse_$j = subgroupShuffle(lane_lse, ${j}u);
let delta_$j = subgroupShuffle(lane_delta, ${j}u);
//# if guided
let guide_$j = subgroupShuffle(lane_guide, ${j}u);
//# end
//# else
let lse_$j = tile_lse[sub + ${j}u];
let delta_$j = tile_delta[sub + ${j}u];
//# if guided
let guide_$j = tile_guide[sub + ${j}u];
//# end
//# end
//# for r in rows
//# if guided
var p_${r}_$j = -delta_$j - guide_$j * (s_${r}_$j - lse_$j);
s_${r}_$j = select(0.0, exp(s_${r}_$j - lse_$j), at_$j >= i_$r && at_$j < SEQUENCE);
//# else
s_${r}_$j = select(0.0, exp(s_${r}_$j - lse_$j), at_$j >= i_$r && at_$j < SEQUENCE);
var p_${r}_$j = -delta_$j;
//# end
//# end
//# end
//# for c in columns
{
    //# if shuffle
    let right_$c = d_output_at(from_right, ${c}u);
    //# end
    //# if held
    //# else
    //# for r in rows
    let v_${r}_$c = qkv_at(own_$r, width + ${c}u);
    //# end
    //# end
    //# for j in keys
    //# import attention/rows/handed with side = right
    //# for r in rows
    p_${r}_$j += dot(v_${r}_$c, a_$j);
    y_${r}_$c += s_${r}_$j * a_$j;
    //# end
    //# end
}
//# end
