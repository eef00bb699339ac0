// Part v of the tile of A or B that begins at this row or column and step k, and where it belongs.
//# flags turned: the tile is turned on its way
//# flags deep: its lines run along K
//# texts x X: the matrix' letter
//# texts from: row or column
//# texts m: m or n, the line
//# if turned
const ${X}_PARTS = ${X}_LINES / 4u * (${X}_LINE / 4u);

fn ${x}_fetched(v: u32, $from: u32, k: u32) -> mat4x4<f16> {
    let $m = $from + v % (${X}_LINES / 4u) * 4u;
    let deep = k + v / (${X}_LINES / 4u) * 4u;
    return transpose(mat4x4<f16>(
        vec4<f16>(${x}_or_zero(deep, $m)),
        vec4<f16>(${x}_or_zero(deep + 1u, $m)),
        vec4<f16>(${x}_or_zero(deep + 2u, $m)),
        vec4<f16>(${x}_or_zero(deep + 3u, $m)),
    ));
}

fn put_${x}(v: u32, part: mat4x4<f16>) {
    let first = v % (${X}_LINES / 4u) * 4u * ${X}_STRIDE + v / (${X}_LINES / 4u) * 4u;
    put_in_${x}(first, part[0]);
    put_in_${x}(first + ${X}_STRIDE, part[1]);
    put_in_${x}(first + 2u * ${X}_STRIDE, part[2]);
    put_in_${x}(first + 3u * ${X}_STRIDE, part[3]);
}
//# else
const ${X}_PARTS = ${X}_LINES * ${X}_LINE / 4u;

fn ${x}_fetched(v: u32, $from: u32, k: u32) -> vec4<f16> {
    let line = v / (${X}_LINE / 4u);
    let at = v % (${X}_LINE / 4u) * 4u;
//# if deep
    return vec4<f16>(${x}_or_zero($from + line, k + at));
//# else
    return vec4<f16>(${x}_or_zero(k + line, $from + at));
//# end
}

fn put_${x}(v: u32, part: vec4<f16>) {
    put_in_${x}(v / (${X}_LINE / 4u) * ${X}_STRIDE + v % (${X}_LINE / 4u) * 4u, part);
}
//# end
