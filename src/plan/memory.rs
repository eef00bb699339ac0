//! Which buffer each intermediate lives in. Two tensors share a buffer when one is dead before the other is
//! born, and so do tensors of plans that never run at the same time. Pure arithmetic: `train --dry-run` runs it without
//! touching a device.

use super::images::{Extent, ImagePlan, image_bytes};
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

/// The memory that plans share which never run at the same time: each is planned into what those before it need, and
/// adds what it lacks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Bytes of each buffer.
    pub buffers: Vec<u64>,
    /// Extents of each image.
    pub images: Vec<Extent>,
}

impl Pool {
    /// Plans several tapes into one pool; each comes back with its nodes' recipes.
    pub fn plan<const N: usize>(
        tapes: [&Tape; N],
        device: &Traits,
    ) -> (Self, [(MemoryPlan, Vec<Recipe>); N]) {
        let mut pool = Self::default();
        let plans = tapes.map(|tape| MemoryPlan::new(tape, device, &mut pool));
        (pool, plans)
    }

    /// Bytes of all buffers and images.
    pub fn bytes(&self) -> u64 {
        self.buffers.iter().copied().chain(self.image_sizes()).sum()
    }

    /// Bytes of each image.
    pub fn image_sizes(&self) -> impl Iterator<Item = u64> {
        self.images.iter().map(|&extent| image_bytes(extent))
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

/// Who lives where in a pool while one tape runs.
#[derive(Debug, Default)]
pub struct MemoryPlan {
    /// Intermediate → buffer of the pool.
    pub homes: HashMap<TensorId, usize>,
    /// Node → buffer of each of its scratch tensors.
    pub scratch: Vec<Vec<usize>>,
    /// Copies of tensors as images.
    pub images: ImagePlan,
}

impl MemoryPlan {
    /// Plans the intermediates and scratch of a tape on a device into a pool of which nothing is in use; also returns
    /// each node's recipe.
    fn new(tape: &Tape, device: &Traits, pool: &mut Pool) -> (Self, Vec<Recipe>) {
        let recipes: Vec<Recipe> =
            tape.nodes().iter().map(|node| node.op.recipe(&shapes(tape, node), device)).collect();
        let last = last_uses(tape);
        let images = ImagePlan::new(tape, &recipes, &mut pool.images);
        let mut plan = Self { images, ..Self::default() };
        let mut free: Vec<usize> = (0..pool.buffers.len()).collect();
        let mut dying: Vec<Vec<usize>> = vec![Vec::new(); tape.nodes().len()];
        for (i, node) in tape.nodes().iter().enumerate() {
            // Outputs first, then scratch: nothing that this node reads may be handed out to it.
            for &output in &node.outputs {
                let owner = owner(tape, output);
                if pooled(tape, owner) && !plan.homes.contains_key(&owner) {
                    let home = pool.take(&mut free, bytes_of(tape, owner));
                    plan.homes.insert(owner, home);
                    dying[last[&owner]].push(home);
                }
            }
            let scratch: Vec<usize> = recipes[i]
                .scratch
                .iter()
                .map(|&n| pool.take(&mut free, padded_bytes(n, DType::F32)))
                .collect();
            free.extend(&scratch);
            plan.scratch.push(scratch);
            free.append(&mut dying[i]);
        }
        (plan, recipes)
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
pub(super) fn last_uses(tape: &Tape) -> HashMap<TensorId, usize> {
    let mut last = HashMap::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            last.insert(owner(tape, tensor), i);
        }
    }
    last
}
