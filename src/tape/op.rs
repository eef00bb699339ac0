//! What an operation tells the readers of a tape: shapes, values in f64, a recipe for a device, the adjoint.

use super::recipe::{Recipe, Traits, Tuning, fits_image};
use super::{Adjoint, DType, Node, Shape, Tape};
use std::fmt;
use std::sync::Arc;

/// One operation: what it computes, for every reader of a tape.
pub trait Op: fmt::Debug + Send + Sync {
    /// The stem of its files in `src/ops`, `shaders` and `tests/ops`.
    fn stem(&self) -> &'static str;

    /// Its name in profiles and faults, e.g. `layer_norm.backward`.
    fn name(&self) -> &'static str;

    /// Computes the outputs in f64. Outputs hold the earlier contents of memory, for ops that accumulate.
    fn reference(&self, io: &mut Io<'_>);

    /// Computes the outputs in f32 where the CPU is the device, on the threads of the pool that calls it. The bits do not
    /// depend on how many those are: threads share outputs among them, never a sum.
    fn host(&self, io: &mut Io<'_, f32>) {
        io.in_f64(|io| self.reference(io));
    }

    /// How a device computes the same.
    fn recipe(&self, shapes: &Shapes<'_>, device: &Traits) -> Recipe;

    /// The variants in which a device can compute this op, if there are several. The recipe follows the one that
    /// [`Traits::choices`] names.
    fn tuning(&self, _shapes: &Shapes<'_>, _device: &Traits) -> Option<Tuning> {
        None
    }

    /// One element of the first output in f64, for ops whose full reference would take too long; `None` for others.
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

    /// This op with an additional last input that it adds to its output, if it can.
    fn with_addend(&self) -> Option<Arc<dyn Op>> {
        None
    }

    /// Floating-point operations of one execution; an addition and a multiplication count one each.
    fn flops(&self, _shapes: &Shapes<'_>) -> u64 {
        0
    }

    /// The least memory traffic of one execution in bytes: every input read once, every output written once, and
    /// read first if it is added to.
    fn bytes(&self, shapes: &Shapes<'_>) -> u64 {
        let inputs =
            (0..shapes.inputs.len()).map(|i| shapes.input_elements(i) * shapes.input_types[i].bytes());
        let outputs = (0..shapes.outputs.len()).map(|i| {
            let times = if self.accumulates(i) { 2 } else { 1 };
            times * shapes.output_elements(i) * shapes.output_types[i].bytes()
        });
        inputs.chain(outputs).sum::<usize>() as u64
    }

    /// The extents that distinguish its executions in a profile.
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

    /// Whether input `i`, seen as a matrix, can be an [`Operand::InputImage`](super::recipe::Operand::InputImage).
    pub fn fits_image(&self, i: usize) -> bool {
        let (rows, columns) = self.inputs[i].as_matrix();
        fits_image(rows, columns, self.input_types[i])
    }

    /// # Panics
    /// If one of these inputs is not f32: kernels that declare it f32 would misread it.
    pub fn assert_f32(&self, op: &str, inputs: &[usize]) {
        for &i in inputs {
            let found = self.input_types[i];
            assert_eq!(found, DType::F32, "{op} reads its input {i} in f32; {:?} is not", self.inputs[i]);
        }
    }

    /// Elements of output `i`.
    pub fn output_elements(&self, i: usize) -> usize {
        self.outputs[i].elements()
    }
}

/// The shapes of a node's operands.
pub fn shapes<'a>(tape: &'a Tape, node: &Node) -> Shapes<'a> {
    Shapes {
        inputs: node.inputs.iter().map(|&t| tape.shape(t)).collect(),
        outputs: node.outputs.iter().map(|&t| tape.shape(t)).collect(),
        input_types: node.inputs.iter().map(|&t| tape.info(t).dtype).collect(),
        output_types: node.outputs.iter().map(|&t| tape.info(t).dtype).collect(),
    }
}

/// An op's view of its operands on the CPU, row-major: in f64 for the reference, in f32 where the CPU is the device.
///
/// Indices (u32 tensors) are whole numbers in f64, and their own bits in f32.
pub struct Io<'a, F = f64> {
    pub shapes: Shapes<'a>,
    inputs: Vec<&'a [F]>,
    outputs: Vec<&'a mut [F]>,
    /// Inputs that are the memory of an output.
    in_place: Vec<(usize, usize)>,
}

impl<'a, F> Io<'a, F> {
    /// A node's operands. Outputs hold the earlier contents of memory.
    pub(crate) fn new(shapes: Shapes<'a>, inputs: Vec<&'a [F]>, outputs: Vec<&'a mut [F]>) -> Self {
        Self { shapes, inputs, outputs, in_place: Vec::new() }
    }

    /// The same, with inputs (first of each pair) that are the memory of an output (second): their slices are empty, and
    /// what they hold is what the output holds before the op.
    pub(crate) fn in_place(self, in_place: &[(usize, usize)]) -> Self {
        Self { in_place: in_place.to_vec(), ..self }
    }

    /// Inputs and outputs at once. Outputs hold the contents of memory before the op.
    pub fn split(&mut self) -> (&[&'a [F]], &mut [&'a mut [F]]) {
        (&self.inputs, &mut self.outputs)
    }

    /// The shape of input `i`.
    pub fn input_shape(&self, i: usize) -> &'a Shape {
        self.shapes.inputs[i]
    }

    /// The shape of output `i`.
    pub fn output_shape(&self, i: usize) -> &'a Shape {
        self.shapes.outputs[i]
    }
}

impl Io<'_, f32> {
    /// Computes on copies of the operands in f64, and rounds the outputs.
    pub fn in_f64(&mut self, compute: impl FnOnce(&mut Io<'_>)) {
        let wide = |dtype: DType, values: &[f32]| -> Vec<f64> {
            match dtype {
                DType::U32 => values.iter().map(|value| f64::from(value.to_bits())).collect(),
                DType::F32 | DType::F16 => values.iter().map(|&value| f64::from(value)).collect(),
            }
        };
        let Shapes { input_types, output_types, .. } = &self.shapes;
        let mut inputs: Vec<Vec<f64>> =
            self.inputs.iter().zip(input_types).map(|(values, &dtype)| wide(dtype, values)).collect();
        let mut outputs: Vec<Vec<f64>> =
            self.outputs.iter().zip(output_types).map(|(values, &dtype)| wide(dtype, values)).collect();
        for &(input, output) in &self.in_place {
            inputs[input] = outputs[output].clone();
        }
        let borrowed = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        compute(&mut Io::new(self.shapes.clone(), inputs.iter().map(Vec::as_slice).collect(), borrowed));
        for ((output, values), &dtype) in self.outputs.iter_mut().zip(&outputs).zip(output_types) {
            for (to, &value) in output.iter_mut().zip(values) {
                *to = if dtype == DType::U32 { f32::from_bits(value as u32) } else { value as f32 };
            }
        }
    }
}
