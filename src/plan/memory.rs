//! Assigns a buffer to each intermediate. Two tensors can share a buffer if one is dead before the other is born, or if
//! they belong to plans that never run at the same time. Pure arithmetic: `train --dry-run` runs it without touching a
//! device.

use super::images::{Extent, ImagePlan, image_bytes};
use crate::ops::{Recipe, Traits};
use crate::tape::shapes;
use crate::tape::{DType, Node, Role, Tape, TensorId};
use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};

/// Every tensor starts at a multiple of this many bytes and is padded to one. Every adapter accepts such binding
/// offsets, and every kernel sees whole vec4s.
pub const ALIGNMENT: u64 = 256;

/// Bytes of a tensor of `elements`, padding included.
pub fn padded_bytes(elements: usize, dtype: DType) -> u64 {
    (elements as u64 * dtype.bytes() as u64).next_multiple_of(ALIGNMENT)
}

/// The same for a tensor on a tape.
pub(super) fn bytes_of(tape: &Tape, tensor: TensorId) -> u64 {
    let info = tape.info(tensor);
    padded_bytes(info.shape.elements(), info.dtype)
}

/// The memory shared by plans that never run at the same time. Each plan reuses what earlier plans need and adds
/// what is missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Bytes of each buffer.
    pub buffers: Vec<u64>,
    /// Extents of each image.
    pub images: Vec<Extent>,
    /// Tensors that keep an image of their own permanently, by name: see [`Tape::fix_parameters`].
    pub fixed: HashMap<String, usize>,
}

impl Pool {
    /// Plans several tapes into one pool. Also returns the recipes of each tape's nodes.
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

/// The range of nodes during which something needs memory.
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

/// The assignment of one tape's tensors to a pool.
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
    /// Plans the intermediates and scratch tensors of a tape on a device into a pool whose memory is all free. Also returns
    /// each node's recipe.
    fn new(tape: &Tape, device: &Traits, pool: &mut Pool) -> (Self, Vec<Recipe>) {
        let recipe = |node: &Node| match device.host {
            true => Recipe::default(),
            false => node.op.recipe(&shapes(tape, node), device),
        };
        let recipes: Vec<Recipe> = tape.nodes().iter().map(recipe).collect();
        let images = ImagePlan::new(tape, &recipes, &mut pool.images, &mut pool.fixed);
        let scratch = recipes.iter().map(|recipe| vec![0; recipe.scratch.len()]).collect();
        let mut plan = Self { homes: HashMap::new(), scratch, images };
        // The largest first, each into the smallest buffer that is free throughout: a large buffer serves small tensors
        // while no large one needs it, but not the other way round (Pisarchyk and Lee 2020).
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

/// Everything that needs memory while a tape runs.
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

/// Whether a tensor lives only during a replay.
pub(super) fn pooled(tape: &Tape, tensor: TensorId) -> bool {
    matches!(tape.info(tensor).role, Role::Intermediate | Role::Gradient)
}

/// The last node that reads or writes each owner.
pub(super) fn last_uses(tape: &Tape) -> HashMap<TensorId, usize> {
    let mut last = HashMap::new();
    for (i, node) in tape.nodes().iter().enumerate() {
        for &tensor in node.inputs.iter().chain(&node.outputs) {
            last.insert(tape.owner(tensor), i);
        }
    }
    last
}
