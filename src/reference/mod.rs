//! The f64 reader of a tape: runs it op by op with the most careful arithmetic available. The oracle of every
//! test and of `normfree verify`.

use crate::tape::{DType, Io, Node, Tape, TensorId, shapes};
use std::collections::HashMap;

/// Host values as the reference sees them: u32 tensors hold whole numbers.
pub fn values_of(dtype: DType, values: &[f32]) -> Vec<f64> {
    match dtype {
        DType::F32 | DType::F16 => values.iter().map(|&v| f64::from(v)).collect(),
        DType::U32 => values.iter().map(|&v| f64::from(v.to_bits())).collect(),
    }
}

/// The memory of a reference run: one array for each tensor that owns storage, initially zero. The f16 copy of a
/// parameter is the parameter itself: the storage format does not matter here.
#[derive(Clone, Debug)]
pub struct Memory {
    arrays: HashMap<TensorId, Vec<f64>>,
}

impl Memory {
    /// Zeros for every tensor of a tape except its constants.
    pub fn new(tape: &Tape) -> Self {
        let owners = tape.ids().filter(|&id| place(tape, id) == (id, 0));
        let mut memory =
            Self { arrays: owners.map(|id| (id, vec![0.0; tape.shape(id).elements()])).collect() };
        for (tensor, values) in tape.constants() {
            memory.set(tape, tensor, &values_of(DType::F32, values));
        }
        memory
    }

    /// Sets a tensor (or a slice of one).
    pub fn set(&mut self, tape: &Tape, tensor: TensorId, values: &[f64]) {
        self.span_mut(tape, tensor).copy_from_slice(values);
    }

    /// The values of a tensor (or of a slice of one).
    pub fn get(&self, tape: &Tape, tensor: TensorId) -> &[f64] {
        let (owner, offset) = place(tape, tensor);
        &self.arrays[&owner][offset..offset + tape.shape(tensor).elements()]
    }

    /// Sets a tensor to zero.
    pub fn clear(&mut self, tape: &Tape, tensor: TensorId) {
        self.span_mut(tape, tensor).fill(0.0);
    }

    /// Runs every node of the tape.
    pub fn run(&mut self, tape: &Tape) {
        for node in tape.nodes() {
            self.run_node(tape, node);
        }
    }

    /// Runs one node.
    pub fn run_node(&mut self, tape: &Tape, node: &Node) {
        let shapes = shapes(tape, node);
        let mut outputs: Vec<Vec<f64>> = node.outputs.iter().map(|&o| self.get(tape, o).to_vec()).collect();
        let inputs = node.inputs.iter().map(|&i| self.get(tape, i)).collect();
        node.op.reference(&mut Io::new(shapes, inputs, outputs.iter_mut().map(Vec::as_mut_slice).collect()));
        for (&tensor, values) in node.outputs.iter().zip(outputs) {
            self.set(tape, tensor, &values);
        }
    }

    fn span_mut(&mut self, tape: &Tape, tensor: TensorId) -> &mut [f64] {
        let (owner, offset) = place(tape, tensor);
        let length = tape.shape(tensor).elements();
        &mut self.arrays.get_mut(&owner).expect("every owner has an array")[offset..offset + length]
    }
}

/// The tensor whose array holds a tensor's values, and the offset there.
fn place(tape: &Tape, tensor: TensorId) -> (TensorId, usize) {
    let (owner, offset) = tape.info(tensor).parent.unwrap_or((tensor, 0));
    (tape.info(owner).copy_of.unwrap_or(owner), offset)
}
