// One step of the running softmax of row r: its scores become weights e^(s - peak) with a new `peak`, and the sums under
// the previous peak are rescaled.
//# flags entropy: the sum of e^(s - peak) * (s - peak) is kept as well, as `moment_`
//# numbers r: the row
//# numbers keys: its scores
let step = peak_$r - peak;
scale_$r = exp(step);
//# if entropy
moment_$r = scale_$r * (moment_$r + step * sum_$r);
//# end
sum_$r *= scale_$r;
peak_$r = peak;
//# for j in keys
{
    let t = s_${r}_$j - peak;
    s_${r}_$j = exp(t);
    sum_$r += s_${r}_$j;
    //# if entropy
    moment_$r += s_${r}_$j * t;
    //# end
}
//# end
