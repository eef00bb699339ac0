//! Which buffer each intermediate lives in. Two tensors share a buffer when one is dead before the other is
//! born, and so do tensors of plans that never run at the same time. Pure arithmetic: `train --dry-run` runs it without
//! touching a device.

use super::images::{Extent, ImagePlan, image_bytes};
use crate::ops::{Recipe, Traits};
use crate::tape::shapes;
use crate::tape::{DType, Role, Tape, TensorId};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

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
    /// Tensors that keep an image of their own for good, by name: see [`Tape::fix_parameters`].
    pub fixed: HashMap<String, usize>,
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
}

/// A stretch of time in which something needs memory.
struct Stay {
    who: Who,
    bytes: u64,
    /// First and last node.
    from: usize,
    to: usize,
}

/// Who needs it.
enum Who {
    Tensor(TensorId),
    /// A node, and which of its scratch tensors.
    Scratch(usize, usize),
}

/// Who lives where in a pool while one tape runs.
#[derive(Debug)]
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
        let images = ImagePlan::new(tape, &recipes, &mut pool.images, &mut pool.fixed);
        let scratch = recipes.iter().map(|recipe| vec![0; recipe.scratch.len()]).collect();
        let mut plan = Self { homes: HashMap::new(), scratch, images };
        // The largest first, each into the smallest buffer that is free all the while: so a large buffer serves small
        // tensors when no large one needs it, and never the other way round (Pisarchyk and Lee 2020).
        let mut stays = stays(tape, &recipes);
        stays.sort_by_key(|stay| (Reverse(stay.bytes), stay.from));
        let mut taken: Vec<Vec<(usize, usize)>> = vec![Vec::new(); pool.buffers.len()];
        for stay in stays {
            let free = |&b: &usize| {
                let apart = |&(from, to): &(usize, usize)| stay.to < from || to < stay.from;
                pool.buffers[b] >= stay.bytes && taken[b].iter().all(apart)
            };
            let home = (0..pool.buffers.len()).filter(free).min_by_key(|&b| pool.buffers[b]);
            let home = home.unwrap_or_else(|| {
                pool.buffers.push(stay.bytes);
                taken.push(Vec::new());
                pool.buffers.len() - 1
            });
            taken[home].push((stay.from, stay.to));
            match stay.who {
                Who::Tensor(tensor) => {
                    plan.homes.insert(tensor, home);
                }
                Who::Scratch(node, which) => plan.scratch[node][which] = home,
            }
        }
        (plan, recipes)
    }
}

/// What needs memory while a tape runs.
fn stays(tape: &Tape, recipes: &[Recipe]) -> Vec<Stay> {
    let last = last_uses(tape);
    let mut known = HashSet::new();
    let mut stays = Vec::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        for tensor in node.outputs.iter().map(|&output| tape.owner(output)) {
            if pooled(tape, tensor) && known.insert(tensor) {
                let bytes = bytes_of(tape, tensor);
                stays.push(Stay { who: Who::Tensor(tensor), bytes, from: i, to: last[&tensor] });
            }
        }
        for (which, &elements) in recipes[i].scratch.iter().enumerate() {
            let bytes = padded_bytes(elements, DType::F32);
            stays.push(Stay { who: Who::Scratch(i, which), bytes, from: i, to: i });
        }
    }
    stays
}

/// Whether a tensor lives only within a replay.
pub(super) fn pooled(tape: &Tape, tensor: TensorId) -> bool {
    matches!(tape.info(tensor).role, Role::Intermediate | Role::Gradient)
}

/// The last node that touches each owner.
pub(super) fn last_uses(tape: &Tape) -> HashMap<TensorId, usize> {
    let mut last = HashMap::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            last.insert(tape.owner(tensor), i);
        }
    }
    last
}
