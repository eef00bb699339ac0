//! Which buffer each intermediate lives in. Two tensors share a buffer when one is dead before the other is
//! born. Pure arithmetic: `train --dry-run` runs it without touching a device.

use super::images::ImagePlan;
use crate::ops::{Recipe, Traits};
use crate::reference::shapes;
use crate::tape::{DType, Role, Tape, TensorId};
use std::collections::HashMap;

/// Every tensor starts at a multiple of this and is padded to it: what every adapter accepts as a binding
/// offset, and whole vec4s for every kernel.
pub const ALIGNMENT: u64 = 256;

/// Bytes of a tensor of `elements`, padding included.
pub fn padded_bytes(elements: usize, dtype: DType) -> u64 {
    (elements as u64 * dtype.bytes() as u64).next_multiple_of(ALIGNMENT)
}

/// The same of a tensor on a tape.
pub(super) fn bytes_of(tape: &Tape, tensor: TensorId) -> u64 {
    let info = tape.info(tensor);
    padded_bytes(info.shape.elements(), info.dtype)
}

/// The buffers of a plan and who lives in them.
#[derive(Debug, Default)]
pub struct MemoryPlan {
    /// Bytes of each pooled buffer.
    pub buffers: Vec<u64>,
    /// Intermediate → pooled buffer.
    pub homes: HashMap<TensorId, usize>,
    /// Node → pooled buffer of each of its scratch tensors.
    pub scratch: Vec<Vec<usize>>,
    /// Copies of tensors as images.
    pub images: ImagePlan,
}

impl MemoryPlan {
    /// Plans the intermediates and scratch of a tape on a device; also returns each node's recipe.
    pub fn new(tape: &Tape, device: &Traits) -> (Self, Vec<Recipe>) {
        let recipes: Vec<Recipe> =
            tape.nodes().iter().map(|node| node.op.recipe(&shapes(tape, node), device)).collect();
        let last = last_uses(tape);
        let mut plan = Self { images: ImagePlan::new(tape, &recipes), ..Self::default() };
        let mut free: Vec<usize> = Vec::new();
        let mut dying: Vec<Vec<usize>> = vec![Vec::new(); tape.nodes().len()];
        for (i, node) in tape.nodes().iter().enumerate() {
            // Outputs first, then scratch: nothing that this node reads may be handed out to it.
            for &output in &node.outputs {
                let owner = owner(tape, output);
                if pooled(tape, owner) && !plan.homes.contains_key(&owner) {
                    let home = plan.take(&mut free, bytes_of(tape, owner));
                    plan.homes.insert(owner, home);
                    dying[last[&owner]].push(home);
                }
            }
            let scratch = recipes[i].scratch.iter().map(|&n| padded_bytes(n, DType::F32));
            let scratch: Vec<usize> = scratch.map(|bytes| plan.take(&mut free, bytes)).collect();
            free.extend(&scratch);
            plan.scratch.push(scratch);
            free.append(&mut dying[i]);
        }
        (plan, recipes)
    }

    /// Bytes of all pooled buffers and images.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().sum::<u64>() + self.images.bytes()
    }

    /// The best-fitting free buffer, else a new one. A buffer more than twice too large is left for others.
    fn take(&mut self, free: &mut Vec<usize>, bytes: u64) -> usize {
        let fits = |&(_, &b): &(usize, &usize)| self.buffers[b] >= bytes && self.buffers[b] <= bytes * 2;
        match free.iter().enumerate().filter(fits).min_by_key(|&(_, &b)| (self.buffers[b], b)) {
            Some((at, _)) => free.swap_remove(at),
            None => {
                self.buffers.push(bytes);
                self.buffers.len() - 1
            }
        }
    }
}

/// The tensor whose memory a slice shares; itself for others.
pub(super) fn owner(tape: &Tape, tensor: TensorId) -> TensorId {
    tape.info(tensor).parent.map_or(tensor, |(parent, _)| parent)
}

/// Whether a tensor lives only within a replay.
pub(super) fn pooled(tape: &Tape, tensor: TensorId) -> bool {
    matches!(tape.info(tensor).role, Role::Activation | Role::Gradient)
}

/// The last node that touches each owner.
fn last_uses(tape: &Tape) -> HashMap<TensorId, usize> {
    let mut last = HashMap::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            last.insert(owner(tape, tensor), i);
        }
    }
    last
}
