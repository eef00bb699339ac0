//! The text of the shader.

use crate::ops::element;
use crate::ops::team::Vectors;
use crate::ops::unroll::unroll;
use std::sync::Arc;

/// Whether dx is added to something, y and dy are f16, and the rule is that of Unified Normalization.
pub(super) fn text([addend, half, unified]: [bool; 3], vectors: &Vectors) -> Arc<str> {
    let [lanes, each] = element::WALK;
    let texts =
        [("stored", element::vector(half, vectors.size)), ("narrow", element::narrow(half, vectors.size))];
    let flags = [("addend", addend), ("half", half), ("unified", unified)];
    let numbers = [lanes, each, ("vector", vectors.size)];
    unroll(include_str!("../../../shaders/column_norm.wgsl"), &numbers, &flags, &texts)
}
