// Random bits without state: a hash of (stream key, counter), in u32 arithmetic alone, so that every device and the
// reference draw the same bits. Twin: src/ops/random.rs.
//
// The mixing is PCG4D (Jarzynski and Olano, "Hash Functions for GPU Rendering", JCGT 9(3), 2020): a linear congruential
// step on four words, then rounds in which a product of two other words is added to each word. The paper's two rounds leave
// the lowest bits of neighbouring counters correlated; with a third, every bit passes the twin's tests: fair, independent
// of its neighbours and of neighbouring keys, half of them flipped by any input bit. It is no cipher.

fn mix_round(words: vec4<u32>) -> vec4<u32> {
    var v = words;
    v.x += v.y * v.w;
    v.y += v.z * v.x;
    v.z += v.x * v.y;
    v.w += v.y * v.z;
    return v;
}

fn mix(words: vec4<u32>) -> vec4<u32> {
    var v = mix_round(words * 1664525u + 1013904223u);
    v = mix_round(v ^ (v >> vec4(16u)));
    return mix_round(v ^ (v >> vec4(16u)));
}

// Bits for elements 4 i .. 4 i + 3 of the stream whose mixed key is `stream`.
fn bits(stream: vec4<u32>, i: u32) -> vec4<u32> {
    return mix(vec4(stream.x ^ i, stream.y, stream.z, stream.w));
}
