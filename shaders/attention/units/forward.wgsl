// Turns a block's scores into weights by a running softmax: a part of attention/units.wgsl.
//# flags entropy: as in attention/units.wgsl
//# numbers rows cells: as in attention/units.wgsl
//# for r in rows
{
    var all = 0.0;
    var most = MASKED;
    //# for c in cells
    {
        let key = vec4(block + 4u * (member + ${c}u * TEAM)) + vec4(0u, 1u, 2u, 3u);
        t_${r}_$c = select(vec4(MASKED), t_${r}_$c, key <= vec4(i_$r));
        let t = t_${r}_$c;
        all += dot(t, vec4(1.0));
        most = max(most, max(max(t.x, t.y), max(t.z, t.w)));
    }
    //# end
    broken_$r = select(broken_$r, 1.0, (bitcast<u32>(all) & EXPONENT) == EXPONENT);
    most = team_most(most);
    var factor = 1.0;
    if most > peak_$r + ROOM {
        let step = peak_$r - most;
        let scale = exp(step);
        //# if entropy
        moment_$r = scale * (moment_$r + step * sum_$r);
        //# end
        sum_$r *= scale;
        grows = grows || peak_$r > MASKED;
        peak_$r = most;
        factor = scale;
    }
    if member == 0u {
        factors[row_$r] = factor;
    }
    //# for c in cells
    {
        let t = t_${r}_$c - peak_$r;
        let p = exp(t);
        sum_$r += dot(p, vec4(1.0));
        //# if entropy
        moment_$r += dot(p, t);
        //# end
        put_weights(row_$r * WEIGHTS + 4u * (member + ${c}u * TEAM), vec4<f16>(p * FORWARD));
    }
    //# end
}
//# end
