// Turns the gradients of a block's scores into weights, and adds up the values' gradients: a part of attention/units.wgsl.
//# flags key_gradient guided capped: as in attention/units.wgsl
//# numbers side high each keys rows cells refill: as in attention/units.wgsl
workgroupBarrier();

// Slopes: gradients of the probabilities.
//# for h in high
//# for w in keys
s_${h}_$w = coop_mat${side}x${side}<f32, C>();
//# end
//# end
//# import attention/units/products with mine = b
workgroupBarrier();
//# for t in refill
//# if key_gradient
put_turned(invocation + ${t}u * THREADS, next_$t);
//# end
next_$t = left_at(at, block + from_$t, column_$t);
//# end

// Gradients of the scores.
//# for c in cells
{
    let cell = member + ${c}u * TEAM;
    let place = vec4(block + 4u * cell) + vec4(0u, 1u, 2u, 3u);
    //# if key_gradient
    let near = min(place, vec4(SEQUENCE - 1u)) + vec4(line);
    let lse_row = vec4(lse[near.x], lse[near.y], lse[near.z], lse[near.w]);
    let delta_row = vec4(delta[near.x], delta[near.y], delta[near.z], delta[near.w]);
    //# if guided
    let guide_row = vec4(d_entropy[near.x], d_entropy[near.y], d_entropy[near.z], d_entropy[near.w]);
    //# end
    //# end
    //# for r in rows
    {
        //# if capped
        let slope = cap_slope(t_${r}_$c);
        //# end
        //# if key_gradient
        let log_p = t_${r}_$c - lse_row;
        let p = select(vec4(0.0), exp(log_p), (place >= vec4(i_$r)) & (place < vec4(SEQUENCE)));
        //# if guided
        t_${r}_$c = p * (shown_at(row_$r, cell) - delta_row - guide_row * log_p);
        //# else
        t_${r}_$c = p * (shown_at(row_$r, cell) - delta_row);
        //# end
        put_weights(row_$r * WEIGHTS + 4u * cell, vec4<f16>(p * PROBABILITY));
        //# else
        let log_p = t_${r}_$c - lse_$r;
        let p = select(vec4(0.0), exp(log_p), place <= vec4(i_$r));
        //# if guided
        t_${r}_$c = p * (shown_at(row_$r, cell) - delta_$r - guide_$r * log_p);
        //# else
        t_${r}_$c = p * (shown_at(row_$r, cell) - delta_$r);
        //# end
        //# end
        //# if capped
        t_${r}_$c *= slope;
        //# end
    }
    //# end
}
//# end
//# if key_gradient
workgroupBarrier();
//# import attention/units/sums with sum = y
workgroupBarrier();
//# end
//# for t in refill
put_turned(invocation + ${t}u * THREADS, next_$t);
//# end
//# for r in rows
{
    var most = 0.0;
    //# for c in cells
    {
        let t = abs(t_${r}_$c);
        most = max(most, max(max(t.x, t.y), max(t.z, t.w)));
    }
    //# end
    most = team_most(most);
    var factor = 1.0;
    if most * power_$r >= LARGEST || (power_$r == 0.0 && most > 0.0) {
        // Brings the largest to between 256 and 512; what is not finite stays so.
        let power = bitcast<f32>(clamp(262u - (bitcast<u32>(most) >> 23u), 7u, 247u) << 23u);
        if power_$r > 0.0 {
            factor = power / power_$r;
            grows = true;
        }
        power_$r = power;
    }
    if member == 0u {
        factors[row_$r] = factor;
    }
    //# for c in cells
    put_weights(row_$r * WEIGHTS + 4u * (member + ${c}u * TEAM), vec4<f16>(t_${r}_$c * power_$r));
    //# end
}
//# end
