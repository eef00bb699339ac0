//! Shader parameters for elements: how a tensor stores them, how kernels read tensors of one shape, and how many elements
//! a lane processes.
//!
//! Tensors store f32 or f16. All arithmetic is f32: a kernel widens f16 values when it reads them, and narrows results when
//! it writes them.

use super::unroll::unroll;
use super::{Operand, Shapes, Traits, grid};
use std::sync::Arc;

/// Lanes of a workgroup whose lanes do not share elements: the shaders' number `lanes`.
pub(super) const LANES: usize = 64;

/// Vectors per lane of an element-wise kernel: the shaders' number `each`.
const EACH: usize = 4;

/// The numbers that `shaders/shared/walk.wgsl` takes.
pub(super) const WALK: [(&str, usize); 2] = [("lanes", LANES), ("each", EACH)];

/// The grid of a kernel that walks `vectors` vectors in this way.
pub(super) fn walk(vectors: usize) -> [u32; 3] {
    grid(vectors.div_ceil(LANES * EACH))
}

/// The grid of a kernel in which each lane handles one place.
pub(super) fn lanes(places: usize) -> [u32; 3] {
    grid(places.div_ceil(LANES))
}

/// The type of one element.
pub(super) fn scalar(half: bool) -> String {
    if half { "f16" } else { "f32" }.to_owned()
}

/// The type of a vector of `size` elements: 4, or 1 for a scalar.
pub(super) fn vector(half: bool, size: usize) -> String {
    if size == 4 { format!("vec4<{}>", scalar(half)) } else { scalar(half) }
}

/// The function that converts f32 to this type.
pub(super) fn narrow(half: bool, size: usize) -> String {
    if half { format!("narrow{size}") } else { vector(false, size) }
}

/// The format of an image with this element type.
pub(super) fn texel(half: bool) -> String {
    if half { "rgba16float" } else { "rgba32float" }.to_owned()
}

/// How a kernel reads tensors of one shape, four elements at a time.
pub(super) struct Elements {
    /// The number of vec4s per tensor: the constant `VECTORS`.
    pub vectors: usize,
    /// The number of vec4s per row if the tensors are read as images, which is many times faster on a CPU: the constant
    /// `TEXELS`.
    pub texels: Option<usize>,
    /// Whether the tensors whose type the op leaves open are f16.
    pub half: bool,
}

impl Elements {
    /// For the op's first input and the tensors of its shape; `stored` lists the inputs whose types matter.
    pub fn of(shapes: &Shapes<'_>, device: &Traits, stored: &[usize]) -> Self {
        let (_, columns) = shapes.inputs[0].as_matrix();
        let images = device.software && stored.iter().all(|&input| shapes.fits_image(input));
        Self {
            vectors: shapes.input_elements(0).div_ceil(4),
            texels: images.then_some(columns / 4),
            half: stored.iter().any(|&input| shapes.half_input(input)),
        }
    }

    /// The operand for input `input`.
    pub fn read(&self, input: usize) -> Operand {
        if self.texels.is_some() { Operand::InputImage(input) } else { Operand::Input(input) }
    }

    /// The text of a shader that takes the flags `images` and `half`, the numbers [`WALK`] and the texts `element`, `narrow`
    /// and `texel`, besides its own flags and texts.
    pub fn text(
        &self,
        shader: &'static str,
        flags: &[(&'static str, bool)],
        texts: &[(&'static str, &str)],
    ) -> Arc<str> {
        let flags = [&[("images", self.texels.is_some()), ("half", self.half)], flags].concat();
        let mut all = vec![
            ("element", scalar(self.half)),
            ("narrow", narrow(self.half, 4)),
            ("texel", texel(self.half)),
        ];
        all.extend(texts.iter().map(|&(name, text)| (name, text.to_owned())));
        unroll(shader, &WALK, &flags, &all)
    }

    /// The constants `VECTORS` and, for images, `TEXELS`.
    pub fn constants(&self) -> impl Iterator<Item = (&'static str, f64)> {
        let texels = self.texels.map(|texels| ("TEXELS", texels as f64));
        std::iter::once(("VECTORS", self.vectors as f64)).chain(texels)
    }
}
