// Kernels read rows four elements at a time if the width is a multiple of four.

alias Vector = vec4<f32>;
const VECTOR = 4u; // elements

fn total(v: Vector) -> f32 {
    return (v.x + v.y) + (v.z + v.w);
}

fn largest_of(v: Vector) -> f32 {
    return max(max(v.x, v.y), max(v.z, v.w));
}

// One where the vector that starts at element `first` holds element `index`, zero elsewhere.
fn one_hot(first: u32, index: u32) -> Vector {
    return select(Vector(0.0), Vector(1.0), vec4(first, first + 1u, first + 2u, first + 3u) == vec4(index));
}
