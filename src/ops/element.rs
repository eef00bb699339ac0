//! How a tensor's elements are stored, as text for the templates: in f32, or in f16. All arithmetic is f32: an f16
//! becomes one as soon as it is read, and is one until it is written.

/// Goes before a kernel that has f16 in a buffer: the directive, and how f32 become f16.
const NARROW: &str = include_str!("../../shaders/shared/narrow.wgsl");

/// The fragments a kernel needs beside its own.
pub(super) fn fragments(half: bool) -> &'static [&'static str] {
    if half { &[NARROW] } else { &[] }
}

/// The type of one element.
pub(super) fn scalar(half: bool) -> String {
    if half { "f16" } else { "f32" }.to_owned()
}

/// The type of a vector of `size` elements: 4, or 1 for a scalar.
pub(super) fn vector(half: bool, size: usize) -> String {
    if size == 4 { format!("vec4<{}>", scalar(half)) } else { scalar(half) }
}

/// The function that turns f32 into it.
pub(super) fn narrow(half: bool, size: usize) -> String {
    if half { format!("narrow{size}") } else { vector(false, size) }
}

/// The format of an image of it.
pub(super) fn texel(half: bool) -> String {
    if half { "rgba16float" } else { "rgba32float" }.to_owned()
}
