//! How a tensor's elements are stored, as text for the templates: in f32, or in f16. All arithmetic is f32: an f16
//! becomes one as soon as it is read, and is one until it is written. And how kernels read tensors of like shape.

use super::unroll::unroll;
use super::{Operand, Shapes, Traits};

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

/// How a kernel reads tensors of one shape, four elements at a time.
pub(super) struct Elements {
    /// vec4 elements of each: the constant `VECTORS`.
    pub vectors: usize,
    /// vec4 elements of a row where they are read as images, many times faster on a CPU: the constant `TEXELS`.
    pub texels: Option<usize>,
    /// Those whose type the op leaves open are f16.
    pub half: bool,
}

impl Elements {
    /// Of the op's first input and those that have its shape; `stored` tells which types there are.
    pub fn of(shapes: &Shapes<'_>, device: &Traits, stored: &[usize]) -> Self {
        let (_, columns) = shapes.inputs[0].as_matrix();
        let images = device.software && stored.iter().all(|&input| shapes.fits_image(input));
        Self {
            vectors: shapes.input_elements(0).div_ceil(4),
            texels: images.then_some(columns / 4),
            half: stored.iter().any(|&input| shapes.half_input(input)),
        }
    }

    /// The operand that is input `input`.
    pub fn read(&self, input: usize) -> Operand {
        if self.texels.is_some() { Operand::InputImage(input) } else { Operand::Input(input) }
    }

    /// The text of a shader that takes the flags `images` and `half` and the texts `element`, `narrow` and `texel`, beside
    /// flags and texts of its own.
    pub fn text(&self, shader: &str, flags: &[(&str, bool)], texts: &[(&str, &str)]) -> String {
        let flags = [&[("images", self.texels.is_some()), ("half", self.half)], flags].concat();
        let mut all = vec![
            ("element", scalar(self.half)),
            ("narrow", narrow(self.half, 4)),
            ("texel", texel(self.half)),
        ];
        all.extend(texts.iter().map(|&(name, text)| (name, text.to_owned())));
        unroll(shader, &[], &flags, &all)
    }

    /// The constants `VECTORS` and, for images, `TEXELS`.
    pub fn constants(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let texels = self.texels.map(|texels| ("TEXELS", texels as f64));
        std::iter::once(("VECTORS", self.vectors as f64)).chain(texels)
    }
}
