// Puts four elements into a line of the tile of A or B.
//# texts x: its letter
fn put_in_${x}(first: u32, value: vec4<f16>) {
    fragments_$x[first] = value.x;
    fragments_$x[first + 1u] = value.y;
    fragments_$x[first + 2u] = value.z;
    fragments_$x[first + 3u] = value.w;
}
