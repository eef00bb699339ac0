// Kernels read rows one element at a time if the width is not a multiple of four.

alias Vector = f32;
const VECTOR = 1u; // elements

fn total(v: Vector) -> f32 {
    return v;
}

fn largest_of(v: Vector) -> f32 {
    return v;
}

// One where element `first` is element `index`, zero elsewhere.
fn one_hot(first: u32, index: u32) -> Vector {
    return select(0.0, 1.0, first == index);
}
