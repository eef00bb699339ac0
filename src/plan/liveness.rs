//! Which tensors are alive at which node of a plan, as a report (`train --dry-run --memory`). Pure arithmetic.

use super::images::image_bytes;
use super::memory::{MemoryPlan, Pool, bytes_of, last_uses, padded_bytes, pooled};
use crate::ops::Recipe;
use crate::tape::{DType, Phase, Role, Tape, TensorId};
use std::collections::HashSet;

/// What a piece of memory is used for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// A result of the forward pass that the backward pass reads.
    Kept,
    /// Such a result, recomputed in the backward pass.
    Again,
    /// Pieces of the logits, and the softmax over them.
    Logits,
    Gradient,
    /// A result of the forward pass that only the forward pass reads; scratch memory of a single node.
    Passing,
    /// A copy of a tensor as an image.
    Image,
}

impl Purpose {
    /// Every purpose.
    pub const ALL: [Self; 6] =
        [Self::Kept, Self::Again, Self::Logits, Self::Gradient, Self::Passing, Self::Image];

    /// Its label in a legend.
    pub fn label(self) -> &'static str {
        match self {
            Self::Kept => "kept for the backward pass",
            Self::Again => "made again",
            Self::Logits => "logits, softmax",
            Self::Gradient => "gradients",
            Self::Passing => "passing, scratch",
            Self::Image => "copies as images",
        }
    }
}

/// A place in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Home {
    Buffer(usize),
    Image(usize),
}

/// One tensor's lifetime in the pool.
#[derive(Clone, Debug)]
pub struct Life {
    pub name: String,
    pub purpose: Purpose,
    pub bytes: u64,
    /// The node that writes it first.
    pub birth: usize,
    /// The last node that reads or writes it.
    pub death: usize,
    pub home: Home,
}

/// All lifetimes in the pool during one replay, in order of birth.
#[derive(Debug)]
pub struct Liveness {
    pub lives: Vec<Life>,
    nodes: usize,
}

impl Liveness {
    /// The lifetimes of a planned tape.
    pub fn new(tape: &Tape, pool: &Pool, plan: &MemoryPlan, recipes: &[Recipe]) -> Self {
        let last = last_uses(tape);
        let logits = logits(tape);
        let mut lives: Vec<Life> = Vec::new();
        // Image → the life of the tensor it holds now.
        let mut held: Vec<Option<usize>> = vec![None; pool.images.len()];
        let mut born = HashSet::new();
        for (i, node) in tape.nodes().iter().enumerate() {
            for each in &plan.images.uses[i] {
                match held[each.image].filter(|_| !each.copy) {
                    Some(life) => lives[life].death = i,
                    None => {
                        held[each.image] = Some(lives.len());
                        lives.push(Life {
                            name: tape.info(node.inputs[each.input]).name.clone(),
                            purpose: Purpose::Image,
                            bytes: image_bytes(pool.images[each.image]),
                            birth: i,
                            death: i,
                            home: Home::Image(each.image),
                        });
                    }
                }
            }
            let mut windows: Vec<usize> =
                plan.images.windows[i].iter().flatten().map(|&(_, image)| image).collect();
            windows.sort_unstable();
            windows.dedup();
            lives.extend(windows.into_iter().map(|image| Life {
                name: format!("windows of {}", node.op.name()),
                purpose: Purpose::Image,
                bytes: image_bytes(pool.images[image]),
                birth: i,
                death: i,
                home: Home::Image(image),
            }));
            for tensor in node.outputs.iter().map(|&output| tape.owner(output)) {
                if !pooled(tape, tensor) || !born.insert(tensor) {
                    continue;
                }
                let (info, death) = (tape.info(tensor), last[&tensor]);
                let purpose = match (info.role, node.phase, tape.nodes()[death].phase) {
                    _ if logits.contains(&tensor) => Purpose::Logits,
                    (Role::Gradient, ..) => Purpose::Gradient,
                    (_, Phase::Backward, _) => Purpose::Again,
                    (_, _, Phase::Backward) => Purpose::Kept,
                    _ => Purpose::Passing,
                };
                let (bytes, home) = (bytes_of(tape, tensor), Home::Buffer(plan.homes[&tensor]));
                lives.push(Life { name: info.name.clone(), purpose, bytes, birth: i, death, home });
            }
            for (&elements, &home) in recipes[i].scratch.iter().zip(&plan.scratch[i]) {
                lives.push(Life {
                    name: format!("scratch of {}", node.op.name()),
                    purpose: Purpose::Passing,
                    bytes: padded_bytes(elements, DType::F32),
                    birth: i,
                    death: i,
                    home: Home::Buffer(home),
                });
            }
        }
        Self { lives, nodes: tape.nodes().len() }
    }

    /// Bytes alive for one purpose at each node.
    pub fn of(&self, purpose: Purpose) -> Vec<u64> {
        let mut alive = vec![0; self.nodes];
        for life in self.lives.iter().filter(|life| life.purpose == purpose) {
            for bytes in &mut alive[life.birth..=life.death] {
                *bytes += life.bytes;
            }
        }
        alive
    }

    /// The node at which the most bytes are alive, and that number.
    pub fn peak(&self) -> (usize, u64) {
        let mut alive = vec![0; self.nodes];
        for purpose in Purpose::ALL {
            for (total, bytes) in alive.iter_mut().zip(self.of(purpose)) {
                *total += bytes;
            }
        }
        alive.into_iter().enumerate().rev().max_by_key(|&(_, bytes)| bytes).unwrap_or((0, 0))
    }
}

/// The pieces of logits that the head's loss works through, and the softmax over them.
fn logits(tape: &Tape) -> HashSet<TensorId> {
    let pieces = ["cross_entropy.update", "cross_entropy.gradient"];
    let touching = tape.nodes().iter().filter(|node| pieces.contains(&node.op.name()));
    touching.flat_map(|node| node.inputs.iter().chain(&node.outputs)).copied().collect()
}
