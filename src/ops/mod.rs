//! The ops. One op is one file here, one WGSL file of the same stem in `shaders/`, and one test of the same
//! stem in `tests/ops/`. A file holds the formula, the shapes, the adjoint, the dispatch description and the
//! f64 reference of the op and of its backward twin.

mod element;
mod kernel;
mod random;
mod team;
mod unroll;

pub mod activation;
pub mod adamw;
pub mod add;
pub mod attention;
pub mod cached_attention;
pub mod cast;
pub mod column_sum;
pub mod cross_entropy;
pub mod dropout;
pub mod embedding;
pub mod entropy_penalty;
pub mod gather;
pub mod gradient_norm;
pub mod head_entropy;
pub mod layer_norm;
pub mod magnitudes;
pub mod matmul;
pub mod rotary;
pub mod scaled_sum;
pub mod temperature;

pub use kernel::{
    Binding, Choices, Dispatch, Kernel, MAX_GROUPS, MAX_ITERATIONS, Operand, Recipe, Traits, Tuning, Vendor,
    WINDOW_ELEMENTS, WINDOW_TEXELS, axis, fits_image, grid, parse,
};

pub(crate) use unroll::unrolled;

use crate::reference::Io;
use crate::tape::{Adjoint, DType, Shape};
use crate::verify::Case;
use std::fmt;
use std::rc::Rc;

/// The cases of one op for a seed.
pub type Cases = fn(u64) -> Vec<Case>;

/// Every op by stem, with the cases that hold it against the reference. `verify` and the tests walk this list.
pub const CASES: &[(&str, Cases)] = &[
    ("activation", activation::cases),
    ("adamw", adamw::cases),
    ("add", add::cases),
    ("attention", attention::cases),
    ("cached_attention", cached_attention::cases),
    ("cast", cast::cases),
    ("column_sum", column_sum::cases),
    ("cross_entropy", cross_entropy::cases),
    ("dropout", dropout::cases),
    ("embedding", embedding::cases),
    ("entropy_penalty", entropy_penalty::cases),
    ("gather", gather::cases),
    ("gradient_norm", gradient_norm::cases),
    ("head_entropy", head_entropy::cases),
    ("layer_norm", layer_norm::cases),
    ("magnitudes", magnitudes::cases),
    ("matmul", matmul::cases),
    ("scaled_sum", scaled_sum::cases),
    ("temperature", temperature::cases),
    ("rotary", rotary::cases),
];

/// One operation: what it computes, on both readers of a tape.
pub trait Op: fmt::Debug {
    /// The stem of its files in `src/ops`, `shaders` and `tests/ops`.
    fn stem(&self) -> &'static str;

    /// Its name in profiles and faults, e.g. `layer_norm.backward`.
    fn name(&self) -> &'static str;

    /// Computes the outputs in f64. Outputs hold what was in memory before, for ops that accumulate.
    fn reference(&self, io: &mut Io<'_>);

    /// How a device computes the same.
    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe;

    /// The ways a device has to compute this, where there are several; the recipe follows the one that
    /// [`Traits::choices`] names.
    fn tuning(&self, _shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        None
    }

    /// One element of the first output in f64, for ops whose whole reference would take too long; `None` for others.
    fn element(&self, _shapes: &Shapes<'_>, _inputs: &[Vec<f64>], _element: usize) -> Option<f64> {
        None
    }

    /// Appends the gradient of this op to the tape.
    ///
    /// Ops that are themselves gradients are never differentiated again.
    fn adjoint(&self, _adjoint: &mut Adjoint<'_>) {
        panic!("{} has no adjoint", self.name());
    }

    /// Whether output `i` is added to rather than overwritten.
    fn accumulates(&self, _output: usize) -> bool {
        false
    }

    /// This op with one more input, the last, that it adds to its output; where it can.
    fn with_addend(&self) -> Option<Rc<dyn Op>> {
        None
    }

    /// Floating-point operations of one execution; an addition and a multiplication count one each.
    fn flops(&self, _shapes: &Shapes<'_>) -> u64 {
        0
    }

    /// Bytes of memory that one execution must move at least: every input read once, every output written once, and
    /// read before where it is added to.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        let inputs =
            (0..shapes.inputs.len()).map(|i| shapes.input_elements(i) * shapes.input_types[i].bytes());
        let outputs = (0..shapes.outputs.len()).map(|i| {
            let times = if self.accumulates(i) { 2 } else { 1 };
            times * shapes.output_elements(i) * shapes.output_types[i].bytes()
        });
        inputs.chain(outputs).sum::<usize>() as u64
    }

    /// The extents that tell its executions apart in a profile.
    fn extents(&self, shapes: &Shapes<'_>) -> String {
        let dims = shapes.outputs[0].dims().iter();
        dims.map(ToString::to_string).collect::<Vec<_>>().join("×")
    }
}

/// The shapes and element types of a node's inputs and outputs.
#[derive(Clone, Debug)]
pub struct Shapes<'a> {
    pub inputs: Vec<&'a Shape>,
    pub outputs: Vec<&'a Shape>,
    pub input_types: Vec<DType>,
    pub output_types: Vec<DType>,
}

impl Shapes<'_> {
    /// Elements of input `i`.
    pub fn input_elements(&self, i: usize) -> usize {
        self.inputs[i].elements()
    }

    /// Whether input `i` is f16.
    pub fn half_input(&self, i: usize) -> bool {
        self.input_types[i] == DType::F16
    }

    /// Whether output `i` is f16.
    pub fn half_output(&self, i: usize) -> bool {
        self.output_types[i] == DType::F16
    }

    /// Whether input `i`, seen as a matrix, can be an [`Operand::InputImage`].
    pub fn fits_image(&self, i: usize) -> bool {
        let (rows, columns) = self.inputs[i].as_matrix();
        fits_image(rows, columns, self.input_types[i])
    }

    /// Elements of output `i`.
    pub fn output_elements(&self, i: usize) -> usize {
        self.outputs[i].elements()
    }
}
