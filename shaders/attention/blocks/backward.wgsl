// Gradients of a block's scores, and the sums that they weight: a part of attention/blocks.wgsl.
//# flags forward query_gradient key_gradient guided capped: as in attention/blocks.wgsl
//# numbers rows keys each sections four fill refill broadfill: as in attention/blocks.wgsl
// Gradients of the probabilities, then of the scores.
//# for r in rows
//# for j in keys
var p_${r}_$j = 0.0;
//# end
//# end
//# if key_gradient
//# import attention/blocks/scores with sum = p, mine = v_at, theirs = g_at
//# else
//# import attention/blocks/scores with sum = p, mine = g_at, theirs = v_at
//# end
//# for j in keys
{
    let at_$j = block + across + ${j}u * ACROSS;
    //# if key_gradient
    let other_$j = line + min(at_$j, SEQUENCE - 1u);
    let lse_row = lse[other_$j];
    let delta_row = delta[other_$j];
    //# if guided
    let guide_row = d_entropy[other_$j];
    //# end
    //# end
    //# for r in rows
    {
        //# if capped
        let slope = cap_slope(s_${r}_$j);
        //# end
        //# if query_gradient
        let log_p = s_${r}_$j - lse_$r;
        let p = select(0.0, exp(log_p), at_$j <= i_$r);
        //# if guided
        s_${r}_$j = p * (p_${r}_$j - delta_$r - guide_$r * log_p);
        //# else
        s_${r}_$j = p * (p_${r}_$j - delta_$r);
        //# end
        //# else
        let log_p = s_${r}_$j - lse_row;
        let p = select(0.0, exp(log_p), at_$j >= i_$r && at_$j < SEQUENCE);
        //# if guided
        s_${r}_$j = p * (p_${r}_$j - delta_row - guide_row * log_p);
        //# else
        s_${r}_$j = p * (p_${r}_$j - delta_row);
        //# end
        p_${r}_$j = p;
        //# end
        //# if capped
        s_${r}_$j *= slope;
        //# end
    }
    //# end
}
//# end
//# if key_gradient
//# for s in sections
//# import attention/blocks/sums with sum = y, weight = p, theirs = g_at
//# end
//# for s in sections
//# import attention/blocks/sums with sum = x, weight = s, theirs = q_at
//# end
//# else
//# for s in sections
//# import attention/blocks/sums with sum = x, weight = s, theirs = k_at
//# end
//# end
