//! The tape's description of a tensor: name, shape, element type, role.

use super::{Declaration, Watched};
use std::fmt;
use std::rc::Rc;

/// A tensor on one tape.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TensorId(u32);

impl TensorId {
    pub(super) fn new(index: usize) -> Self {
        Self(u32::try_from(index).expect("fewer than 2^32 tensors"))
    }

    /// Its index in [`super::Tape::tensors`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Extents, outermost first; memory is row-major and dense.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Shape(Vec<usize>);

impl Shape {
    pub fn new(dims: &[usize]) -> Self {
        Self(dims.to_vec())
    }

    pub fn dims(&self) -> &[usize] {
        &self.0
    }

    pub fn elements(&self) -> usize {
        self.0.iter().product()
    }

    /// The shape seen as a matrix: the last extent, and the product of all before it.
    pub fn as_matrix(&self) -> (usize, usize) {
        let width = *self.0.last().expect("a shape has at least one extent");
        (self.elements() / width, width)
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// Element types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DType {
    F32,
    /// What matrix products and attention read and write in mixed precision. Sums are still f32.
    F16,
    U32,
}

impl DType {
    /// Bytes of one element.
    pub fn bytes(self) -> usize {
        if self == Self::F16 { 2 } else { 4 }
    }
}

/// Who writes a tensor, and how long it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Written by the host before a replay.
    Input,
    /// Trained; lives in the parameter arena.
    Parameter,
    /// Accumulates over the micro-batches of a step; lives in the gradient arena.
    ParameterGradient,
    /// An intermediate of the forward pass.
    Intermediate,
    /// An intermediate of the backward pass.
    Gradient,
    /// Kept after a replay and read back.
    Observation,
}

/// One tensor's description.
#[derive(Clone, Debug)]
pub struct TensorInfo {
    pub name: String,
    pub shape: Shape,
    pub dtype: DType,
    pub role: Role,
    /// For a slice: the tensor whose memory it shares, and the offset in elements.
    pub parent: Option<(TensorId, usize)>,
    /// An input whose gradient is wanted although it is not a parameter.
    pub tracked: bool,
    /// For the f16 copy of a parameter: that parameter, which owns the gradient.
    pub copy_of: Option<TensorId>,
    /// The element type of its gradient.
    pub gradient: DType,
    /// The values of an input that is the same in every replay.
    pub constant: Option<Rc<[f32]>>,
    /// For a parameter that is neither a slice nor an f16 copy.
    pub declaration: Option<Rc<Declaration>>,
    /// For an observation: the quantities whose numbers it holds.
    pub watched: Vec<Watched>,
}
